"""The hooks that a plugin may implement, typed and documented; all are optional.

Each hook may be ``async def`` (runs as a trio task) or ``def`` (runs in a worker thread), except ``lifespan``,
which is an async context manager. pluggy holds these specs and checks implementations against them; the calls
themselves are made one at a time by ``aintandem_notify.plugins.runtime.calls``, because pluggy awaits nothing.
"""

from collections.abc import Awaitable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import pluggy

from aintandem_notify.domain.events import ConnectionEvent, Event, SandboxEvent, TaskEvent, WorkflowEvent
from aintandem_notify.domain.notification import Notification

PROJECT: Final = "aintandem_notify"
"""The name under which pluggy and the entry points know us."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Receipt = Mapping[str, Any]
"""What a destination wants to remember of a delivery; JSON values only."""


class HookSpecs:
    """What pluggy checks implementations against."""

    @hookspec
    def lifespan(self) -> AbstractAsyncContextManager[None]:  # type: ignore[empty-body]
        """Set-up before ``yield``, tear-down after it; an ``@asynccontextmanager``.

        Every other hook runs only between the two. Raise ``PluginNotReady`` to be set up again later.
        """

    @hookspec
    def deliver(self, notification: Notification) -> Receipt | Awaitable[Receipt | None] | None:
        """Bring one notification to its destination.

        Called until it succeeds: return nothing or a receipt when it is delivered, raise ``RetryLater``,
        ``DestinationBroken`` or ``Rejected`` otherwise. May be called again with the same
        ``notification.id`` after a crash.
        """

    @hookspec
    def on_event(self, event: Event) -> Awaitable[None] | None:
        """See every event of every family as it happens; best effort, nothing is repeated."""

    @hookspec
    def on_task_event(self, event: TaskEvent) -> Awaitable[None] | None:
        """See every task event as it happens; best effort."""

    @hookspec
    def on_workflow_event(self, event: WorkflowEvent) -> Awaitable[None] | None:
        """See every workflow event as it happens; best effort."""

    @hookspec
    def on_sandbox_event(self, event: SandboxEvent) -> Awaitable[None] | None:
        """See every sandbox event as it happens; best effort."""

    @hookspec
    def on_connection_event(self, event: ConnectionEvent) -> Awaitable[None] | None:
        """See the links of the projects come and go; best effort."""

    @hookspec
    def check(self) -> Awaitable[None] | None:
        """Try whether the destination can be reached, without telling anybody; raise if not.

        Called inside an entered ``lifespan`` by ``aintandem-notify check --connect``.
        """

    @hookspec
    def diagnostics(self) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:  # type: ignore[empty-body]
        """Facts for somebody who looks into a problem; JSON values, no secrets."""
