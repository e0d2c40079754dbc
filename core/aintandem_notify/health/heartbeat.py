"""Pings ``[agent] heartbeat_url``, so that a monitor notices when the agent is failing or gone.

``ping_schedule`` decides when, ``pings`` has the forms. A service that does not know the conventions of
healthchecks.io gets plain pings, and none while the agent is failing.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Never

import trio

from aintandem_notify import log
from aintandem_notify.config import AgentConfig, Secret
from aintandem_notify.domain.health import Health, HealthState
from aintandem_notify.errors import HttpFailed
from aintandem_notify.health.ping_schedule import PingSchedule
from aintandem_notify.health.pings import (
    MAX_ANSWER_BYTES,
    PingFailure,
    Signal,
    address_for,
    failure_in,
    is_known_host,
    speaks_conventions,
    text_of,
)
from aintandem_notify.http_client import HttpClient

TIMEOUT_S: Final = 10.0
"""Seconds that one ping may take."""
LOOK_S: Final = 1.0
"""Seconds between two looks at the health and the settings."""
TEXT_HEADERS: Final = {"Content-Type": "text/plain; charset=utf-8"}
UNKNOWN_PATH_STATUSES: Final = frozenset({404, 405})

_log = log.get_logger(__name__)


class Heartbeat:
    """Sends the pings, and logs when they stop, fail and resume. Made by ``open_heartbeat``."""

    def __init__(
        self, settings: Callable[[], AgentConfig], health: Callable[[], Health], http: HttpClient
    ) -> None:
        self._settings = settings
        self._health = health
        self._http = http
        self._is_first = True
        self._url: Secret | None = None
        self._schedule = PingSchedule()
        self._plain_url: Secret | None = None
        """The address whose service has shown that it does not know the conventions."""
        self._refused_path = False
        self._is_silent = False
        self._failure: PingFailure | None = None
        """The failure that was logged; None while pings arrive."""

    async def beat_forever(self) -> Never:
        """Sends each ping when it is due. A changed health or setting counts within ``LOOK_S``."""
        while True:  # ``beat`` is more than a look
            next_look_at = await self.beat()
            await trio.sleep_until(next_look_at)

    async def beat(self) -> float:
        """Sends the ping that is due. Returns the time of the next look, on trio's clock."""
        settings, is_first = self._settings(), self._is_first
        self._is_first = False
        if (url := settings.heartbeat_url) is None:
            self._url = None
            return trio.current_time() + LOOK_S
        if url != self._url:
            self._url, self._schedule = url, PingSchedule()
        if is_first and self._knows_conventions(settings, url):
            await self._send(url, Signal.START, conventions=True)
        health, now = self._health(), trio.current_time()
        conventions = self._knows_conventions(settings, url)
        interval = settings.heartbeat_interval
        signal = self._schedule.due(health, conventions=conventions, interval_s=interval, now=now)
        self._log_silence(is_silent=health.state is HealthState.FAILING and not conventions)
        if signal is not None:
            self._schedule.record(signal, health, now=now)
            text = text_of(health) if conventions and (health.reasons or signal is Signal.LOG) else None
            failure = await self._send(url, signal, text, conventions=conventions)
            if signal is not Signal.LOG:
                self._log_failure(failure)
        now, due_at = trio.current_time(), self._schedule.next_due(interval)
        return due_at if now < due_at < now + LOOK_S else now + LOOK_S

    def _knows_conventions(self, settings: AgentConfig, url: Secret) -> bool:
        if settings.heartbeat_style == "auto":
            return url != self._plain_url and speaks_conventions(url.reveal())
        return settings.heartbeat_style == "healthchecks"

    async def _send(
        self, url: Secret, signal: Signal, text: bytes | None = None, *, conventions: bool
    ) -> PingFailure | None:
        """Returns the reason why the ping does not count; None if it arrived."""
        method, headers = ("GET", None) if text is None else ("POST", TEXT_HEADERS)
        try:
            answer = await self._http.request(
                method,
                address_for(url.reveal(), signal),
                content=text,
                headers=headers,
                timeout=TIMEOUT_S,
                need_body=False,
                max_body=MAX_ANSWER_BYTES,
            )
        except HttpFailed as error:
            return PingFailure(error.reason)
        failure = failure_in(answer, conventions=conventions)
        if conventions:
            self._learn(url, signal, answer.status, arrived=failure is None)
        return failure

    def _learn(self, url: Secret, signal: Signal, status: int, *, arrived: bool) -> None:
        """Finds out that an address only looks like one of healthchecks.io.

        Its service knows no path behind the address, but takes plain pings.
        """
        if signal is not Signal.SUCCESS:
            self._refused_path = status in UNKNOWN_PATH_STATUSES and not is_known_host(url.reveal())
            return
        if arrived and self._refused_path and self._settings().heartbeat_style == "auto":
            self._plain_url = url
            _log.info("heartbeat_url gets plain pings only: its service does not know /start")
        self._refused_path = False

    def _log_silence(self, *, is_silent: bool) -> None:
        if is_silent and not self._is_silent:
            _log.warning("no heartbeats while the agent is failing")
        elif self._is_silent and not is_silent:
            _log.info("heartbeats go on")
        self._is_silent = is_silent

    def _log_failure(self, failure: PingFailure | None) -> None:
        """Logs the first failure, the first one that only a person can end, and the end of all."""
        if failure is not None and (
            self._failure is None or (failure.needs_person and not self._failure.needs_person)
        ):
            _log.warning("the heartbeat did not arrive", reason=failure.reason)
        elif failure is None and self._failure is not None:
            _log.info("heartbeats arrive again")
        if failure is None or self._failure is None or failure.needs_person:
            self._failure = failure


@asynccontextmanager
async def open_heartbeat(
    settings: Callable[[], AgentConfig], *, health: Callable[[], Health], http: HttpClient
) -> AsyncIterator[None]:
    """Pings during the block, as the health says. Its end sends nothing: then the pings stay out."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Heartbeat(settings, health, http).beat_forever)
        yield
        nursery.cancel_scope.cancel()
