"""Keeps one project connected: authenticates, connects, reads, and reconnects until it is cancelled.

``link.close_codes`` classifies the end of a connection, ``recovery`` decides the reaction, and ``link.states`` the
next state. This module carries out the decisions.
"""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NoReturn

import trio

from aintandem_notify import log
from aintandem_notify.domain.events import (
    ConnectionConnectedEvent,
    ConnectionDisconnectedEvent,
    ConnectionErrorEvent,
    Event,
)
from aintandem_notify.domain.notification import Project
from aintandem_notify.errors import (
    ApiError,
    AuthenticationFailed,
    HttpFailed,
    LinkLost,
    OrchestratorError,
    ProjectGone,
    StoreError,
)
from aintandem_notify.foundation.threads import run_in_thread
from aintandem_notify.orchestrator.auth.tokens import Token, TokenOrigin, renewal_time
from aintandem_notify.orchestrator.catch_up.catch_up import CatchUp
from aintandem_notify.orchestrator.catch_up.event_buffer import EventBuffer
from aintandem_notify.orchestrator.link.close_codes import LIMIT_FLAWS, error_if_known
from aintandem_notify.orchestrator.link.frames import FrameReader
from aintandem_notify.orchestrator.link.reconnect_policy import (
    STABLE_AFTER_S,
    classify_error,
    close_code_of,
)
from aintandem_notify.orchestrator.link.states import ConnectionState, Signal
from aintandem_notify.orchestrator.link.websocket import Link
from aintandem_notify.orchestrator.watch.event_sink import RetryingSink
from aintandem_notify.orchestrator.watch.handover import ConnectionHandover, open_handover
from aintandem_notify.orchestrator.watch.recovery import Recovery
from aintandem_notify.orchestrator.watch.settings import WatchSettings
from aintandem_notify.orchestrator.watch.status import StatusObserver, StatusTracker

RENEW_RETRY_S: Final = 30.0
"""Pause before another try to renew a token, while the link continues with the old one."""
SLOT_RETRY_S: Final = 2.0
"""Pause before another try to get a second connection slot, while other projects replace their links."""
KNOWN_FOR_S: Final = 60.0
"""Time for which an answer of the REST API counts that it knows the project, while the socket says otherwise."""
REST_TIMEOUT_S: Final = 15.0
"""Time for that answer. The socket is not tried meanwhile, and thousands of projects may ask."""
WAITS_FOR_LOGIN: Final = "waits for the answer to the login"
LAST_COMMIT_S: Final = 2.0
"""Time for a project that is being stopped to store the events that it has read already."""


async def watch_project(
    project: Project, settings: WatchSettings, observe: StatusObserver
) -> OrchestratorError | HttpFailed:
    """Watch until cancelled. Returns only when it gives up: the error that ended the last try.

    It gives up when ``reconnect_attempts`` are used up or the trouble is fatal. The caller must report that.
    Trouble that is retried is logged here.

    On cancellation, events that are read already still go to the sink, within ``LAST_COMMIT_S``.
    """
    return await _ConnectionLoop(project, settings, observe).run()


class _ConnectionLoop:
    def __init__(self, project: Project, settings: WatchSettings, observe: StatusObserver) -> None:
        self._project = project
        self._settings = settings
        self._log = log.get_logger(__name__).bind(project=project.id)
        self._reader = FrameReader(project.id, settings.clock, self._log, max_length=settings.max_event_characters)
        self._status = StatusTracker(project, self._reader, settings.clock, observe)
        self._sink = RetryingSink(project, settings, self._status, self._log)
        self._recovery = Recovery(
            settings.backoff, settings.fatal, settings.chance, reports_every_try=settings.reports_every_try
        )
        self._known_until = -math.inf
        """The time, by trio's clock, before which the REST API is not asked whether it knows the project."""
        self._token: Token | None = None
        self._opened_at: float | None = None
        self._must_report_connection = True
        self._buffer = EventBuffer(self._sink.store, buffering=False)
        self._catch_up: CatchUp | None = None
        self._link: Link | None = None
        self._stored_at = 0.0
        self._last_error: str | None = None

    async def run(self) -> OrchestratorError | HttpFailed:
        self._status.signal(Signal.START)
        try:
            while True:
                outcome = await self._try()
                if not isinstance(outcome, float):
                    return outcome
                await trio.sleep(outcome)
        finally:
            # The caller that cancels knows that the link is closing; here it is closed already.
            if self._status.state is not ConnectionState.DISCONNECTED:
                self._status.signal(Signal.STOP)
                self._status.signal(Signal.CLOSED)

    async def _try(self) -> float | OrchestratorError | HttpFailed:
        """Run one connection from token to end. Returns the seconds until the next one, or the final error."""
        try:
            await self._connect_and_read()
        except (OrchestratorError, HttpFailed) as error:
            return await self._recover(error)

    async def _connect_and_read(self) -> NoReturn:
        slots = self._settings.slots
        if (wait_reason := slots.wait_reason) is not None:
            self._status.update(last_error=wait_reason)
        async with slots.acquire():
            await self._connect_and_read_in_slot()
        raise AssertionError("reading ends with an exception")

    async def _connect_and_read_in_slot(self) -> NoReturn:
        self._token = await self._get_token()
        async with open_handover(self._settings.connect) as links:
            try:
                link = await self._open(links, self._token)
                self._start_catch_up(links, await self._on_opened())
                await self._read(links, link, self._token)
            finally:
                await self._store_leftovers(links.links)
        raise AssertionError("reading ends with an exception")

    async def _get_token(self) -> Token:
        """A token. The status says why there is none yet: a slow login may take half a minute."""
        reason = self._settings.session.login_status.reason
        self._status.update(last_error=reason or self._last_error or WAITS_FOR_LOGIN)
        token = await self._settings.session.token()
        self._status.update(last_error=self._last_error)
        return token

    def _start_catch_up(self, links: ConnectionHandover, opened_at: datetime) -> None:
        if self._settings.make_catch_up is not None:
            self._buffer = EventBuffer(
                self._sink.store,
                buffering=True,
                total_usage=self._settings.buffer_usage,
                start=links.beside,
            )
            self._catch_up = self._settings.make_catch_up(self._project, self._buffer, opened_at)
            self._catch_up.on_trouble = self._status.note_lookup
            links.beside(partial(self._catch_up.run, self._stored_until))

    def _stored_until(self) -> datetime:
        """The time up to which all received frames are stored."""
        # While waiting for frames, all received ones are stored. While storing a batch, only the earlier ones are.
        at = self._stored_at if self._link is None else self._link.last_received_at
        return self._settings.clock.capped_now() - timedelta(seconds=trio.current_time() - at)

    async def _open(self, links: ConnectionHandover, token: Token) -> Link:
        session = self._settings.session
        link = await links.open(session.socket(self._project.id, token))
        session.note_accepted(token)
        return link

    async def _read(self, links: ConnectionHandover, link: Link, token: Token) -> NoReturn:
        """Read until the link is lost. Before its token expires, hand over to another link."""
        renew_at = renewal_time(token, self._settings.chance)
        while True:
            batch: Sequence[str | bytes] = ()
            self._link, self._stored_at = link, trio.current_time()
            with trio.move_on_at(renew_at):
                batch = await link.receive_batch()
            self._link = None
            await self._store(batch)
            if trio.current_time() < renew_at:
                continue
            with self._settings.slots.acquire_second() as has_slot:
                renew_at = trio.current_time() + (RENEW_RETRY_S if has_slot else SLOT_RETRY_S)
                successor = await self._open_successor(links, token) if has_slot else None
                if successor is not None:
                    old, (link, token) = link, successor
                    self._token = token
                    await self._hand_over(links, old, link)
                    renew_at = renewal_time(token, self._settings.chance)

    async def _hand_over(self, links: ConnectionHandover, old: Link, new: Link) -> None:
        """Read the old link to its end first, so that events keep their order. The new one buffers its own."""
        links.release(old)
        copies: set[str | bytes] = set()
        with suppress(OrchestratorError):
            while True:
                batch = await old.receive_batch()
                copies.update(batch)
                await self._store(batch)
        await self._store([frame for frame in new.take_buffered() if frame not in copies])
        self._status.update(connected_at=self._settings.clock.now())

    async def _store(self, batch: Sequence[str | bytes]) -> None:
        if not batch:
            return
        size_before = self._reader.size
        events = await self._events_in(batch)
        if events:
            if (remote_clock := self._settings.remote_clock) is not None:
                remote_clock.add_timestamps([events[-1].timestamp], self._settings.clock.now())
            await self._buffer.add(events, self._reader.size - size_before)
        self._status.update()

    async def _events_in(self, batch: Sequence[str | bytes]) -> list[Event]:
        if not self._reader.has_long_frame(batch):
            return self._reader.read(batch)
        # Received frames are parsed even while we are being stopped.
        with trio.CancelScope(shield=True) as scope:
            read = partial(self._reader.read, batch, self._settings.clock.now())
            events = await run_in_thread(read, limiter=self._settings.long_read_limiter)
        assert not scope.cancelled_caught  # noqa: S101  # nobody cancels it
        return events

    async def _store_leftovers(self, links: Iterable[Link]) -> None:
        # The server does not send received frames again, so they are stored.
        stored_until, catch_up = self._stored_until(), self._catch_up
        self._link = self._catch_up = None
        with trio.move_on_after(LAST_COMMIT_S, shield=True):
            is_up_to_date = catch_up is not None and await catch_up.stop()
            for link in links:
                self._buffer.append(await self._events_in(link.take_buffered()))
            await self._buffer.release()
            if catch_up is not None and is_up_to_date:
                with suppress(StoreError):  # then the next gap begins at the mark before
                    await catch_up.mark_seen(stored_until)
        if lost := self._buffer.take_unstored():
            self._log.error("the last events could not be stored", events=len(lost))

    async def _open_successor(self, links: ConnectionHandover, token: Token) -> tuple[Link, Token] | None:
        """Open another link with a new token beside the present one. None if that is not possible now."""
        try:
            successor = await self._settings.session.token()
            if successor is token:
                return None
            return await self._open(links, successor), successor
        except (OrchestratorError, HttpFailed) as error:
            self._log.info("could not renew the token, going on with the old one", reason=str(error))
            return None

    async def _on_opened(self) -> datetime:
        """Report that the link is open. Returns the time, by a clock that nobody can have set ahead."""
        self._opened_at = trio.current_time()
        now = self._settings.clock.now()
        # Uses one instant for "watching began" and "link opened": otherwise the first connection would report a
        # gap of microseconds.
        opened_at = min(now, self._settings.clock.capped_now())
        self._status.signal(Signal.OPENED)
        self._last_error = None
        self._status.update(connected_at=now, last_error=None, attempts=0, trouble=None)
        if self._must_report_connection:
            self._must_report_connection = False
            self._log.info("connected")
            await self._sink.store([ConnectionConnectedEvent(timestamp=now, project_id=self._project.id)])
        return opened_at

    def _on_closed(self, *, is_our_limit: bool = False) -> bool:
        """Note that no link is open any more. Returns whether one was. A stable one clears the failure history."""
        opened_at, self._opened_at = self._opened_at, None
        if opened_at is None:
            return False
        if not is_our_limit and trio.current_time() - opened_at >= STABLE_AFTER_S:
            self._recovery.forget()
            self._known_until = -math.inf
        return True

    async def _recover(self, error: OrchestratorError | HttpFailed) -> float | OrchestratorError | HttpFailed:
        """React to a failed try or a lost link. Returns the seconds until the next try, or the final error."""
        code = close_code_of(error)
        if code in LIMIT_FLAWS:
            self._reader.count_flaw(LIMIT_FLAWS[code])
        was_open = self._on_closed(is_our_limit=code in LIMIT_FLAWS)
        if isinstance(error, ProjectGone):
            error = await self._ask_rest(error)
        is_renewable = self._token is not None and self._token.origin is not TokenOrigin.STATIC
        loss = self._recovery.note_failure(error, is_renewable=is_renewable)
        self._status.signal(Signal.GAVE_UP if loss.is_final else Signal.LOST)
        self._status.update(connected_at=None, attempts=self._recovery.failures)
        self._show_trouble(error)
        self._log.debug("not connected", reason=str(error), failures=self._recovery.failures)
        if was_open:
            await self._report_disconnected(error, code, final=loss.is_final)
        problem = await self._renew() if loss.needs_token else None
        if problem is not None:
            error = problem
            self._show_trouble(error)
        step = self._recovery.next_step(
            loss, error, was_open=was_open, has_new_token=loss.needs_token and problem is None
        )
        if step.is_final and not loss.is_final:
            self._status.signal(Signal.GAVE_UP)
        if step.reports:
            await self._report_error(error, final=step.is_final, repeated=step.is_repeated)
        return error if step.pause_s is None else step.pause_s

    def _show_trouble(self, error: OrchestratorError | HttpFailed) -> None:
        self._last_error = str(error)
        self._status.update(last_error=self._last_error, trouble=classify_error(error))

    async def _ask_rest(self, gone: ProjectGone) -> ProjectGone | LinkLost:
        """The same error if the REST API agrees. Otherwise the link alone is down."""
        is_known, now = self._settings.is_known, trio.current_time()
        if is_known is None:
            return gone
        self._status.signal(Signal.LOST)
        self._status.update(connected_at=None, last_error=self._last_error or str(gone))
        try:
            if now >= self._known_until:
                with trio.fail_after(REST_TIMEOUT_S):
                    if not await is_known(self._project.id):
                        return gone
                self._known_until = now + KNOWN_FOR_S
        except (ApiError, HttpFailed) as doubt:
            return error_if_known(gone, doubt)
        except trio.TooSlowError:
            return error_if_known(gone, HttpFailed(f"no answer within {REST_TIMEOUT_S:g} s"))
        return error_if_known(gone)

    async def _renew(self) -> OrchestratorError | HttpFailed | None:
        """Get another token in place of the refused one. Returns the error if there is none, else None."""
        assert self._token is not None  # noqa: S101  # only a token can be refused
        try:
            await self._settings.session.renew(self._token)
        except (ApiError, HttpFailed) as problem:
            return problem
        return None

    async def _report_disconnected(self, error: Exception, code: int, *, final: bool) -> None:
        self._must_report_connection = True
        write = self._log.debug if final else self._log.warning
        write("disconnected", code=code, reason=str(error), will_reconnect=not final)
        event = ConnectionDisconnectedEvent(
            timestamp=self._settings.clock.now(),
            project_id=self._project.id,
            code=code,
            reason=str(error),
            will_reconnect=not final,
        )
        await self._sink.store([event])

    async def _report_error(self, error: Exception, *, final: bool, repeated: bool) -> None:
        self._must_report_connection = True
        # The session reports a refused login, once for all projects.
        is_reported = repeated or isinstance(error, AuthenticationFailed)
        write = self._log.debug if is_reported or final else self._log.warning
        write("cannot connect", reason=str(error), will_reconnect=not final)
        event = ConnectionErrorEvent(
            timestamp=self._settings.clock.now(),
            project_id=self._project.id,
            error=str(error),
            will_reconnect=not final,
        )
        await self._sink.store([event])
