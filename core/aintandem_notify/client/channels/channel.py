"""One project of the client: its connection while anybody wants it, its subscriptions, listeners and history.

The connection is the agent's own (``orchestrator.watch_project``); here is only who wants it and who gets what.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from aintandem_notify import log
from aintandem_notify.client.channels.callbacks import Reporter
from aintandem_notify.client.channels.connection_events import ConnectionChange, Listener, change_of
from aintandem_notify.client.channels.event_filter import Routes, RunFilter
from aintandem_notify.client.channels.final_state import look_up_end
from aintandem_notify.client.channels.subscriber_queue import RunQueue, SubscriberQueue
from aintandem_notify.client.lifetime import ClientLifetime
from aintandem_notify.domain.events import EVENT_TYPES, LOCAL_TYPES, ConnectionEvent, Event, Family
from aintandem_notify.domain.notification import Project
from aintandem_notify.errors import (
    ApiError,
    Disconnected,
    HttpFailed,
    LinkGivenUp,
    LinkLost,
    NotFound,
    OrchestratorError,
    ServerTrouble,
)
from aintandem_notify.foundation.backoff import Chance, full_jitter
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator import (
    ConnectionState,
    OrchestratorApi,
    ProjectStatus,
    UnusableId,
    WatchSettings,
    watch_project,
)
from aintandem_notify.orchestrator.watch.settings import Sink

LOOK_AGAIN_S: Final = (1.0, 30.0)
"""The first and the longest pause before an end that could not be looked up is looked up again."""
SETTLE_S: Final = 0.5
"""How long an end that was looked up waits for what the socket may still bring of the run, so that nothing comes
behind its end."""
LOOK_UPS: Final = 4
"""Ends that are looked up at the same time, over all projects of a client."""
NORMAL_END: Final = 1000
"""The close code that listeners get when the program itself disconnects: a normal end."""

_OWN: Final = frozenset(EVENT_TYPES[name] for name in LOCAL_TYPES)

_log = log.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all projects of a client share. ``history`` is how many events each of them remembers."""

    block: ClientLifetime
    nursery: trio.Nursery
    api: OrchestratorApi
    watching: Callable[[Sink], WatchSettings]
    reporter: Reporter
    clock: Clock
    chance: Chance
    history: int
    look_ups: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(LOOK_UPS))


@dataclass(eq=False, slots=True)
class _Watch:
    """One time that the project is watched, from the wish for a connection to its end."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    state: ConnectionState = ConnectionState.DISCONNECTED
    is_stopped: bool = False
    error: OrchestratorError | HttpFailed | None = None


class Channel:
    """A project. ``is_held`` keeps its connection open without a subscription."""

    def __init__(self, project_id: str, shared: Shared) -> None:
        self.project_id = project_id
        self.is_held = False
        self._holding = 0
        self._waiting = 0
        self.connections = 0
        self.history: deque[Event] = deque(maxlen=shared.history)
        self._shared = shared
        self._routes: Routes[SubscriberQueue] = Routes()
        self._listeners: list[Listener] = []
        self._calling: dict[trio.lowlevel.Task, list[SubscriberQueue]] = {}
        self._watch: _Watch | None = None
        self._is_told_connected = False
        self._handed: Sequence[Event] = ()
        self._change = trio.Event()
        self.state = ConnectionState.DISCONNECTED

    @asynccontextmanager
    async def open(self, outlet: SubscriberQueue) -> AsyncIterator[None]:
        """Connected, with a reader for as long as the block runs; raises as ``connected``."""
        with self.added(outlet):
            await self.connected()
            self.look_up(outlet)
            yield

    @contextmanager
    def added(self, outlet: SubscriberQueue) -> Iterator[None]:
        """A reader for as long as the block runs; in place before the socket reads."""
        self.add(outlet)
        try:
            yield
        finally:
            self.remove(outlet)

    def add(self, outlet: SubscriberQueue) -> None:
        """Another reader; connects if need be."""
        self._require()
        self._routes.add(outlet)

    def remove(self, outlet: SubscriberQueue) -> None:
        """A reader goes; the connection goes with the last."""
        outlet.drop()
        self._routes.remove(outlet)
        self._release()

    @contextmanager
    def calling_back(self, outlet: SubscriberQueue) -> Iterator[None]:
        """While the block runs, this task calls back with what it took out of ``outlet``."""
        calling = self._calling.setdefault(trio.lowlevel.current_task(), [])
        calling.append(outlet)
        try:
            yield
        finally:
            calling.remove(outlet)
            if not calling:
                del self._calling[trio.lowlevel.current_task()]

    async def take(self, outlet: SubscriberQueue) -> list[Event]:
        """As ``outlet.take``.

        A callback that waits here for an event of its own project lets its own events wait in memory meanwhile,
        however many: the one that it waits for may come behind them.
        """
        if not (self._calling and outlet.is_empty):
            return await outlet.take()
        with ExitStack() as stack:
            for other in self._callers():
                stack.enter_context(other.waiting_elsewhere())
            return await outlet.take()

    def _callers(self) -> list[SubscriberQueue]:
        """Those whose callbacks wait for the current task: it is theirs, or runs in a nursery of theirs."""
        found: list[SubscriberQueue] = []
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None:
            found += self._calling.get(task, ())
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return found

    def narrow(self, outlet: RunQueue, interest: RunFilter) -> None:
        """The reader wants less from now on, also of what waits for it."""
        self._routes.remove(outlet)
        outlet.narrow(interest)
        self._routes.add(outlet)

    def listen(self, listener: Listener) -> None:
        """Another one who hears of the connection, from now on."""
        self._listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        """Undo ``listen``."""
        listener.drop()
        if listener in self._listeners:
            self._listeners.remove(listener)

    async def hold(self) -> None:
        """Connect, and stay so without any reader; raises as ``connected``."""
        self._holding += 1
        try:
            await self.connected()
            self.is_held = True
        finally:
            # Whoever gives up waiting takes the connection from nobody else who waits or holds.
            self._holding -= 1
            self._release()

    async def connected(self) -> None:
        """Wait until there is a connection, for somebody who reads or holds.

        Raises ProjectGone, LinkRefused, ApiError, LinkGivenUp, or Disconnected when the program itself ends it.
        """
        watch = self._require()
        self._waiting += 1
        try:
            while watch.is_stopped or watch.state is not ConnectionState.CONNECTED:
                if watch.ended.is_set():
                    raise _why(watch, self.project_id)
                await self._change.wait()
        finally:
            self._waiting -= 1

    async def disconnect(self) -> None:
        """End the connection; returns when it is closed. Its callbacks stay for the next one."""
        self.is_held = False
        self._stop()
        if self._watch is not None:
            await self._watch.ended.wait()

    def end(self) -> None:
        """Nobody gets anything any more; listeners still hear what happened."""
        for outlet in list(self._routes.everybody):
            outlet.end()
        for listener in self._listeners:
            listener.end()

    def look_up(self, outlet: SubscriberQueue) -> None:
        """Find out over REST whether what the reader waits for is over already."""
        if not isinstance(outlet, RunQueue) or outlet.is_closed or outlet.has_ended:
            return
        interest = outlet.interest
        if interest.run_id is None or interest.family not in (Family.TASK, Family.WORKFLOW):
            return
        if outlet.looking is not None:
            outlet.looking.cancel()
        outlet.looking = scope = trio.CancelScope()
        self._shared.nursery.start_soon(self._look_up, outlet, scope)

    async def _look_up(self, outlet: RunQueue, scope: trio.CancelScope) -> None:
        failures = 0
        with scope:
            while True:
                attempts = outlet.attempts
                try:
                    async with self._shared.look_ups:
                        end = await look_up_end(
                            self._shared.api, outlet.interest, self.project_id, self._shared.clock.now()
                        )
                except (NotFound, UnusableId) as error:
                    _log.info("nobody knows the run that is watched", run=outlet.interest.run_id)
                    if outlet.needs_end:
                        outlet.end(error)
                    return
                except (ApiError, HttpFailed) as error:
                    _log.info("could not look up how a run ended", run=outlet.interest.run_id, reason=str(error))
                    first, longest = LOOK_AGAIN_S
                    await trio.sleep(
                        full_jitter(failures, initial=first, maximum=longest, chance=self._shared.chance)
                    )
                    failures += 1
                    continue
                if end is not None:
                    await trio.sleep(SETTLE_S)
                    # An attempt that began meanwhile is not over; the answer is about the one before.
                    if attempts == outlet.attempts:
                        outlet.put_found_out(end)
                return

    def _require(self) -> _Watch:
        """The watch that is on; begun if there is none. Raises Disconnected when the client's block was left."""
        if self._shared.block.is_left:
            raise Disconnected("the client's block was left").about(self.project_id)
        before = self._watch
        if before is None or before.is_stopped or before.ended.is_set():
            self._watch = _Watch()
            self._shared.nursery.start_soon(self._run, self._watch, before)
            return self._watch
        return before

    def _release(self) -> None:
        if not (self.is_held or self._holding or self._routes.everybody):
            self._stop()

    def _stop(self) -> None:
        watch = self._watch
        if watch is not None and not watch.is_stopped:
            watch.is_stopped = True
            watch.scope.cancel()
            self._enter(watch, watch.state)
            if self._is_told_connected:
                now = self._shared.clock.now()
                self._tell(ConnectionChange("disconnecting", self.project_id, now, will_reconnect=False))
        self._end_readers(None)

    async def _run(self, watch: _Watch, before: _Watch | None) -> None:
        project = Project(id=self.project_id, name=self.project_id)
        settings = self._shared.watching(partial(self._take, watch))
        try:
            if before is not None:
                await before.ended.wait()
            with watch.scope:
                watch.error = await watch_project(project, settings, partial(self._observe, watch))
        finally:
            self._close_books(watch)

    def _close_books(self, watch: _Watch) -> None:
        if self._is_told_connected:
            reason, now = "the program disconnected", self._shared.clock.now()
            self._tell(
                ConnectionChange(
                    "disconnected", self.project_id, now, code=NORMAL_END, reason=reason, will_reconnect=False
                )
            )
        watch.ended.set()
        self.history.clear()
        if not watch.is_stopped:
            self.is_held = False
            if watch.error is not None and not self._somebody_is_told():
                _log.warning("the connection is given up", project=self.project_id, reason=str(watch.error))
            self._end_readers(_why(watch, self.project_id))
        self._announce()

    def _somebody_is_told(self) -> bool:
        """Whether the program hears of the end: by an exception, or as a listener."""
        streams = [outlet for outlet in self._routes.everybody if not outlet.is_lasting]
        return bool(self._waiting or self._listeners or streams)

    def _end_readers(self, error: Exception | None) -> None:
        for outlet in list(self._routes.everybody):
            if not outlet.is_lasting:
                outlet.end(error)

    def _observe(self, watch: _Watch, status: ProjectStatus) -> None:
        self._enter(watch, status.state)

    def _enter(self, watch: _Watch, state: ConnectionState) -> None:
        if watch.is_stopped and state is not ConnectionState.DISCONNECTED:
            # Until the socket is closed: also where it was just being opened.
            state = ConnectionState.DISCONNECTING
        if state is watch.state:
            return
        self.state = watch.state = state
        if state is ConnectionState.CONNECTED:
            self.connections += 1
            for outlet in self._routes.everybody:
                self.look_up(outlet)
        self._announce()

    def _announce(self) -> None:
        self._change.set()
        self._change = trio.Event()

    async def _take(self, watch: _Watch, _project: Project, events: Sequence[Event]) -> None:
        """Hand events to whoever wants them; waits for slow readers, unless nobody reads on in any case."""
        wire = events
        if not _OWN.isdisjoint(map(type, events)):
            wire = [event for event in events if type(event) not in _OWN]
            for event in events:
                # What still happens to one that is being closed would contradict what listeners have been told.
                if isinstance(event, ConnectionEvent) and not watch.is_stopped:
                    self._tell(change_of(event, self.project_id))
        wire = self._not_yet_handed(wire)
        if not wire:
            return
        pieces = self._routes.sort(wire)
        self._handed = wire
        try:
            while not watch.is_stopped and (full := [outlet for outlet in pieces if outlet.is_full]):
                await full[0].room()
                pieces = self._routes.sort(wire)
            self._handed = []
        except BaseException:
            pieces = self._routes.sort(wire)  # readers may have come, gone or narrowed while we waited
            raise
        finally:
            # Also when there is no time left to wait: it was read, and will not come again.
            self.history.extend(wire)
            for outlet, piece in pieces.items():
                outlet.put(piece)

    def _not_yet_handed(self, wire: Sequence[Event]) -> Sequence[Event]:
        """Without what was handed over when we were cancelled: whoever did that hands the same over once more."""
        handed, self._handed = self._handed, ()
        if handed and wire and wire[0] is handed[0]:
            return wire[len(handed) :]
        return wire

    def _tell(self, change: ConnectionChange) -> None:
        self._is_told_connected = change.type == "connected" or (
            change.type in ("error", "disconnecting") and self._is_told_connected
        )
        for listener in self._listeners:
            listener.put(change)


def _why(watch: _Watch, project_id: str) -> OrchestratorError:
    """What to raise out of whoever waits for a watch that has ended; a new one for each of them."""
    match watch.error:
        case None:
            return Disconnected("the program itself ended the connection").about(project_id)
        case LinkLost() | HttpFailed() | ServerTrouble() as error:
            reason = f"no connection, and no try is left: {error}"
            raised: OrchestratorError = LinkGivenUp(reason, getattr(error, "code", 1006)).about(project_id)
        case error:
            raised = error.about(project_id)
    raised.__cause__ = error.with_traceback(None)
    return raised
