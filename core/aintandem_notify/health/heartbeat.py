"""Pings ``[agent] heartbeat_url`` while the agent is healthy, so that a monitor notices when the pings stop."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Never

import trio

from aintandem_notify import log
from aintandem_notify.config import AgentConfig, Secret
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client import HttpClient

TIMEOUT_S: Final = 10.0
"""Seconds that one ping may take."""

_log = log.get_logger(__name__)


class Heartbeat:
    """Sends the pings and logs when they stop, fail and resume. Made by ``open_heartbeat``."""

    def __init__(
        self, settings: Callable[[], AgentConfig], trouble: Callable[[], str | None], http: HttpClient
    ) -> None:
        self._settings = settings
        self._trouble = trouble
        self._http = http
        self._stopped = False
        self._failed = False

    async def ping_forever(self) -> Never:
        """Pings once per interval. Reads the settings before each ping, so that a reload takes effect."""
        while True:
            started_at = trio.current_time()
            settings = self._settings()
            if settings.heartbeat_url is not None:
                await self.ping_if_well(settings.heartbeat_url)
            await trio.sleep_until(started_at + settings.heartbeat_interval)

    async def ping_if_well(self, url: Secret) -> None:
        """Pings ``url`` unless the agent has trouble."""
        trouble = self._trouble()
        if trouble is not None and not self._stopped:
            _log.warning("no heartbeats until all is well again", reason=trouble)
        elif trouble is None and self._stopped:
            _log.info("all is well, heartbeats go on")
        self._stopped = trouble is not None
        if trouble is None:
            self._log_change(await self._ping(url))

    async def _ping(self, url: Secret) -> str | None:
        """Returns the reason why the ping failed; None if it succeeded."""
        try:
            response = await self._http.get(url.reveal(), timeout=TIMEOUT_S, need_body=False)
        except HttpFailed as error:
            return error.reason
        return None if 200 <= response.status < 300 else f"HTTP {response.status}"

    def _log_change(self, failure: str | None) -> None:
        if failure is not None and not self._failed:
            _log.warning("the heartbeat did not arrive", reason=failure)
        elif failure is None and self._failed:
            _log.info("heartbeats arrive again")
        self._failed = failure is not None


@asynccontextmanager
async def open_heartbeat(
    settings: Callable[[], AgentConfig], *, trouble: Callable[[], str | None], http: HttpClient
) -> AsyncIterator[None]:
    """Pings during the block. ``trouble`` returns the reason not to ping; None if the agent is healthy."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Heartbeat(settings, trouble, http).ping_forever)
        yield
        nursery.cancel_scope.cancel()
