"""One project of the client: its connection while anything uses it, its subscribers, listeners and history.

``orchestrator.watch_project`` makes and keeps the connection, as for the agent. This module decides when there is
one, and distributes its events to ``subscriber_queue`` queues and its state to ``connection_events`` listeners.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from aintandem_notify import log
from aintandem_notify.client.channels.callback_tasks import CallbackTasks
from aintandem_notify.client.channels.callbacks import CallbackRunner
from aintandem_notify.client.channels.connection_events import ConnectionChange, Listener, change_from_event
from aintandem_notify.client.channels.event_filter import SubscriberIndex, SubscriptionFilter
from aintandem_notify.client.channels.event_history import EventHistory
from aintandem_notify.client.channels.project_watch import ProjectWatch
from aintandem_notify.client.channels.subscriber_queue import RunQueue, SubscriberQueue
from aintandem_notify.client.lifetime import ClientLifetime
from aintandem_notify.domain.events import EVENT_TYPES, LOCAL_TYPES, ConnectionEvent, Event, Family
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.reconciliation import end_events
from aintandem_notify.domain.runs import RunRef, RunState
from aintandem_notify.errors import ApiError, Disconnected, HttpFailed, NotFound
from aintandem_notify.foundation.backoff import Chance, full_jitter
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator import (
    ConnectionState,
    OrchestratorApi,
    ProjectStatus,
    WatchSettings,
    watch_project,
)
from aintandem_notify.orchestrator.catch_up.run_lookup import look_up_run
from aintandem_notify.orchestrator.watch.settings import EventSink

LOOKUP_RETRY_S: Final = (1.0, 30.0)
"""Initial and maximum pause between two tries to look up how a run ended."""
FINAL_EVENT_DELAY_S: Final = 0.5
"""Seconds between looking up a final event and delivering it. Events of the run that are still on the socket
arrive in this time, so that none follows the final event."""
MAX_LOOKUPS: Final = 4
"""Concurrent lookups of final events, over all projects of a client."""
NORMAL_CLOSURE: Final = 1000
"""Close code that listeners get when the program itself disconnects (RFC 6455 §7.4.1)."""

_LOCAL_EVENT_CLASSES: Final = frozenset(EVENT_TYPES[name] for name in LOCAL_TYPES)

_log = log.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChannelContext:
    """Services that all channels of a client share.

    ``history_limit`` is the number of events that each remembers.
    """

    lifetime: ClientLifetime
    nursery: trio.Nursery
    api: OrchestratorApi
    watch_settings: Callable[[EventSink], WatchSettings]
    callback_runner: CallbackRunner
    clock: Clock
    chance: Chance
    history_limit: int
    lookup_limiter: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(MAX_LOOKUPS))


class Channel:
    """One project. ``is_kept_open``: the connection stays open without subscribers."""

    def __init__(self, project_id: str, context: ChannelContext) -> None:
        self.project_id = project_id
        self.is_kept_open: bool = False
        self._pending_connects = 0
        self._waiter_count = 0
        self.connection_count: int = 0
        self.callback_tasks: Final = CallbackTasks()
        self.history: EventHistory = EventHistory(context.history_limit)
        self._context = context
        self._index: SubscriberIndex[SubscriberQueue] = SubscriberIndex()
        self._listeners: list[Listener] = []
        self._watch: ProjectWatch | None = None
        self._listeners_see_connected = False
        self._already_distributed: Sequence[Event] = ()
        self._state_changed = trio.Event()
        self.state: ConnectionState = ConnectionState.DISCONNECTED

    @asynccontextmanager
    async def open(self, queue: SubscriberQueue) -> AsyncIterator[None]:
        """Subscribe ``queue`` for the block, which begins once connected: for streams of events.

        Raises as ``wait_connected``.
        """
        with self.registration(queue):
            await self.wait_connected()
            self.start_lookup(queue)
            yield

    @contextmanager
    def registration(self, queue: SubscriberQueue) -> Iterator[None]:
        """Subscribe ``queue`` for the block, before the socket is read. Unlike ``open``, does not wait."""
        self.add(queue)
        try:
            yield
        finally:
            self.remove(queue)

    def add(self, queue: SubscriberQueue) -> None:
        """Subscribe ``queue`` until ``remove``, and begin to connect if necessary: for callbacks.

        Such a subscription has no block.
        """
        self._ensure_watch()
        self._index.add(queue)

    def remove(self, queue: SubscriberQueue) -> None:
        """Unsubscribe ``queue`` and discard its events. Disconnects with the last subscriber."""
        queue.discard()
        self._index.remove(queue)
        self._stop_if_unused()

    def narrow(self, queue: RunQueue, event_filter: SubscriptionFilter) -> None:
        """Give ``queue`` a narrower filter, which also applies to events that wait in it."""
        self._index.remove(queue)
        queue.narrow(event_filter)
        self._index.add(queue)

    def add_listener(self, listener: Listener) -> None:
        """Send changes of the connection to ``listener`` from now on."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Undo ``add_listener``."""
        listener.discard()
        if listener in self._listeners:
            self._listeners.remove(listener)

    async def keep_open(self) -> None:
        """Connect, and stay connected without subscribers. Raises as ``wait_connected``."""
        self._pending_connects += 1
        try:
            await self.wait_connected()
            self.is_kept_open = True
        finally:
            # A cancelled caller must not close the connection while others wait for it or keep it open.
            self._pending_connects -= 1
            self._stop_if_unused()

    async def wait_connected(self) -> None:
        """Wait until the project is connected. The caller subscribes or keeps the connection open.

        Raises ProjectGone, LinkRefused, ApiError or LinkGivenUp, and Disconnected when the program itself ends it.
        """
        watch = self._ensure_watch()
        self._waiter_count += 1
        try:
            while watch.is_stopped or watch.state is not ConnectionState.CONNECTED:
                if watch.ended.is_set():
                    raise watch.ending_error(self.project_id)
                await self._state_changed.wait()
        finally:
            self._waiter_count -= 1

    async def disconnect(self) -> None:
        """Close the connection; returns once it is closed. Persistent queues stay for the next connection."""
        self.is_kept_open = False
        self._stop()
        if self._watch is not None:
            await self._watch.ended.wait()

    def close(self) -> None:
        """Close all queues and listeners. Changes that wait for a listener are still delivered."""
        for queue in list(self._index.subscribers):
            queue.close()
        for listener in self._listeners:
            listener.close()

    def start_lookup(self, queue: SubscriberQueue) -> None:
        """Look up in the background whether the run of ``queue`` has already ended."""
        if not isinstance(queue, RunQueue) or queue.is_closed or queue.has_ended:
            return
        event_filter = queue.event_filter
        if event_filter.run_id is None or event_filter.family not in (Family.TASK, Family.WORKFLOW):
            return
        if queue.lookup_scope is not None:
            queue.lookup_scope.cancel()
        queue.lookup_scope = scope = trio.CancelScope()
        ref = RunRef(self.project_id, event_filter.family, event_filter.run_id)
        self._context.nursery.start_soon(self._look_up_final_event, queue, ref, scope)

    async def _look_up_final_event(self, queue: RunQueue, ref: RunRef, scope: trio.CancelScope) -> None:
        api, failures = self._context.api, 0
        with scope:
            while True:
                attempts = queue.attempts
                try:
                    async with self._context.lookup_limiter:
                        observation = await look_up_run(ref, api.task, api.execution, whole=True)
                except (ApiError, HttpFailed) as error:
                    _log.info("could not look up how a run ended", run=ref.id, reason=str(error))
                    first, longest = LOOKUP_RETRY_S
                    await trio.sleep(
                        full_jitter(failures, initial=first, maximum=longest, chance=self._context.chance)
                    )
                    failures += 1
                    continue
                if observation is not None and observation.state is RunState.GONE:
                    _log.info("the orchestrator does not know the watched run", run=ref.id)
                    if queue.needs_end:
                        queue.close(NotFound(f"the orchestrator does not know {ref.kind} {ref.id}", status=404))
                elif observation is not None and (ends := end_events(observation, self._context.clock.now())):
                    await trio.sleep(FINAL_EVENT_DELAY_S)
                    # If the run has started again meanwhile, the response is about the earlier attempt.
                    if attempts == queue.attempts:
                        queue.put_final_event(ends[-1])
                return

    def _ensure_watch(self) -> ProjectWatch:
        """The present watch, started if there is none. Raises Disconnected when the client's block was left."""
        if self._context.lifetime.is_closing:
            raise Disconnected("the client's block was left").about(self.project_id)
        previous = self._watch
        if previous is None or previous.is_stopped or previous.ended.is_set():
            self._watch = ProjectWatch()
            self._context.nursery.start_soon(self._run, self._watch, previous)
            return self._watch
        return previous

    def _stop_if_unused(self) -> None:
        if not (self.is_kept_open or self._pending_connects or self._index.subscribers):
            self._stop()

    def _stop(self) -> None:
        watch = self._watch
        if watch is not None and not watch.is_stopped:
            watch.is_stopped = True
            watch.scope.cancel()
            self._set_state(watch, watch.state)
            if self._listeners_see_connected:
                now = self._context.clock.now()
                self._notify_listeners(
                    ConnectionChange("disconnecting", self.project_id, now, will_reconnect=False)
                )
        self._close_queues(None)

    async def _run(self, watch: ProjectWatch, previous: ProjectWatch | None) -> None:
        project = Project(id=self.project_id, name=self.project_id)
        settings = self._context.watch_settings(partial(self._distribute, watch))
        try:
            if previous is not None:
                await previous.ended.wait()
            with watch.scope:
                watch.error = await watch_project(project, settings, partial(self._on_status, watch))
        finally:
            self._finish_watch(watch)

    def _finish_watch(self, watch: ProjectWatch) -> None:
        if self._listeners_see_connected:
            reason, now = "the program disconnected", self._context.clock.now()
            self._notify_listeners(
                ConnectionChange(
                    "disconnected", self.project_id, now, code=NORMAL_CLOSURE, reason=reason, will_reconnect=False
                )
            )
        watch.ended.set()
        self.history.clear()
        if not watch.is_stopped:
            self.is_kept_open = False
            if watch.error is not None and not self._has_observer():
                _log.warning("the connection is given up", project=self.project_id, reason=str(watch.error))
            self._close_queues(watch.ending_error(self.project_id))
        self._notify_waiters()

    def _has_observer(self) -> bool:
        """Whether the program learns of the end: from an exception, or as a listener."""
        streams = [queue for queue in self._index.subscribers if not queue.is_persistent]
        return bool(self._waiter_count or self._listeners or streams)

    def _close_queues(self, error: Exception | None) -> None:
        for queue in list(self._index.subscribers):
            if not queue.is_persistent:
                queue.close(error)

    def _on_status(self, watch: ProjectWatch, status: ProjectStatus) -> None:
        self._set_state(watch, status.state)

    def _set_state(self, watch: ProjectWatch, state: ConnectionState) -> None:
        if watch.is_stopped and state is not ConnectionState.DISCONNECTED:
            # It stays DISCONNECTING until the socket is closed, even if the socket was just being opened.
            state = ConnectionState.DISCONNECTING
        if state is watch.state:
            return
        self.state = watch.state = state
        if state is ConnectionState.CONNECTED:
            self.connection_count += 1
            for queue in self._index.subscribers:
                self.start_lookup(queue)
        self._notify_waiters()

    def _notify_waiters(self) -> None:
        self._state_changed.set()
        self._state_changed = trio.Event()

    async def _distribute(self, watch: ProjectWatch, _project: Project, events: Sequence[Event]) -> None:
        """Put events into the queues that want them. Waits for full queues, unless the watch is being stopped."""
        wire_events = events
        if type(events[0]) in _LOCAL_EVENT_CLASSES:
            wire_events = []
            for event in events:
                # Listeners already know that the connection is closing; a later state would contradict that.
                if isinstance(event, ConnectionEvent) and not watch.is_stopped:
                    self._notify_listeners(change_from_event(event, self.project_id))
        wire_events = self._without_repeats(wire_events)
        if not wire_events:
            return
        batches = self._index.split(wire_events)
        self._already_distributed = wire_events
        try:
            while not watch.is_stopped and (full := [queue for queue in batches if queue.is_full]):
                await full[0].wait_for_room()
                batches = self._index.split(wire_events)
            self._already_distributed = []
        except BaseException:
            batches = self._index.split(wire_events)  # subscribers may have changed while we waited
            raise
        finally:
            # Also when cancelled: these events were read from the socket and will not come again.
            self.history.add(wire_events)
            for queue, batch in batches.items():
                queue.put(batch)

    def _without_repeats(self, wire_events: Sequence[Event]) -> Sequence[Event]:
        """Removes events that a cancelled call has already distributed: the caller passes them once more."""
        done, self._already_distributed = self._already_distributed, ()
        if done and wire_events and wire_events[0] is done[0]:
            return wire_events[len(done) :]
        return wire_events

    def _notify_listeners(self, change: ConnectionChange) -> None:
        self._listeners_see_connected = change.type == "connected" or (
            change.type in ("error", "disconnecting") and self._listeners_see_connected
        )
        for listener in self._listeners:
            listener.put(change)
