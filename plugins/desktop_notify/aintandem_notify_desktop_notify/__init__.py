"""Shows notifications on the desktop of the person who runs the agent."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from pydantic import Field

from aintandem_notify.api import Duration, Notification, Plugin, PluginConfig, Receipt, hookimpl
from aintandem_notify_desktop_notify.backends import Backend, backend_for
from aintandem_notify_desktop_notify.lasting import MAX_CRITICAL
from aintandem_notify_desktop_notify.popup import Popup, popup_of


class Config(PluginConfig):
    """The keys of ``[plugins.desktop_notify.<name>]``."""

    app_name: str = Field("AInTandem", description="the name under which the desktop lists the notifications")
    icon: str | None = Field(
        None, description="an icon's name or path; by default the desktop's own sign for the severity"
    )
    expire_timeout: Duration | None = Field(
        None, description='how long a notification stays up, "0s" for ever; by default the desktop decides'
    )
    max_critical: int = Field(
        MAX_CRITICAL,
        ge=1,
        le=100,
        description="how many errors stand on the screen at a time (Linux); one summary tells of any more",
    )
    max_age: Duration | None = Field(
        3600.0,
        description="older ones are dropped: nobody wants to come back to a screen full of old news",
    )
    timeout: Duration = Field(10.0, description="how long the desktop may take to answer")


class DesktopNotify(Plugin[Config]):
    """One desktop session."""

    machine_local: ClassVar[bool] = True

    _backend: Backend

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Choose the backend of this platform; it connects when it is first needed."""
        self._backend = backend_for(sys.platform, max_critical=self.config.max_critical)
        try:
            yield
        finally:
            self._backend.close()

    @hookimpl
    async def deliver(self, notification: Notification) -> Receipt | None:
        """Show the notification; replaces an earlier one of the same run where the desktop can do so."""
        return await self._backend.show(self._popup(notification), notification.previous)

    @hookimpl
    async def check(self) -> None:
        """Check that a desktop is available; shows nothing."""
        await self._backend.check()

    @hookimpl
    def diagnostics(self) -> Mapping[str, Any]:
        """Facts about the backend and the desktop's server."""
        return self._backend.diagnostics()

    def _popup(self, notification: Notification) -> Popup:
        config = self.config
        return popup_of(
            notification, app_name=config.app_name, icon=config.icon, expire_timeout=config.expire_timeout
        )
