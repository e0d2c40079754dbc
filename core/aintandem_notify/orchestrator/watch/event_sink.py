"""Stores a project's events, and retries for as long as the store fails."""

from collections.abc import Sequence

import trio
from structlog.typing import FilteringBoundLogger

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Project
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.backoff import full_jitter
from aintandem_notify.orchestrator.watch.settings import WatchSettings
from aintandem_notify.orchestrator.watch.status import StatusTracker


class RetryingSink:
    """Passes events to the sink until they are stored. No frame is read meanwhile, so the server has to wait."""

    def __init__(
        self, project: Project, settings: WatchSettings, status: StatusTracker, log: FilteringBoundLogger
    ) -> None:
        self._project = project
        self._settings = settings
        self._status = status
        self._log = log

    async def store(self, events: Sequence[Event]) -> None:
        """Returns when the events are stored. If it is cancelled before, its caller still has them."""
        failures = 0
        while True:
            try:
                await self._settings.sink(self._project, events)
            except StoreError as error:
                if failures == 0:
                    self._log.error("cannot store events, reading pauses", reason=str(error))
                    self._status.update(last_error=f"cannot store events: {error}")
                await trio.sleep(self._pause(failures))
                failures += 1
                continue
            if failures:
                self._log.info("events can be stored again, reading goes on")
                self._status.update(last_error=None)
            return

    def _pause(self, failures: int) -> float:
        backoff = self._settings.backoff
        return full_jitter(
            failures,
            initial=backoff.reconnect_initial_delay,
            maximum=backoff.reconnect_max_delay,
            chance=self._settings.chance,
        )
