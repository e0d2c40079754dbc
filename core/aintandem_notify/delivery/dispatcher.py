"""Starts, stops, wakes and drains the workers, and reports the state of their destinations.

``agent`` starts and stops workers, ``ingest`` wakes them, the control API pauses and resumes destinations.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import trio

from aintandem_notify.delivery import gate as gates
from aintandem_notify.delivery.gate import HELD_STATES, Gate, GateState
from aintandem_notify.delivery.settings import Deliverer, DestinationSettings
from aintandem_notify.delivery.stored_gate import AddressHash, Instant
from aintandem_notify.delivery.worker import Worker
from aintandem_notify.domain.events import AgentEvent
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.log import get_logger
from aintandem_notify.store import QueueStats, Storage, Store, TransactionPurpose

NOT_CONFIGURED: Final = "not configured"
"""The state of a destination that has a queue but is in no known config."""
CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""A wall clock that is set back by more than this does not make trouble younger than it is."""
POLL_INTERVAL_S: Final = 2.0
"""Seconds between two checks of a shared store: changes by other agents do not wake our workers."""
CANCEL_GRACE_S: Final = 2.0
"""Seconds that a cancelled delivery gets to end. A plugin that shields itself or runs in a thread may need longer.
"""

log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """The state of a destination and its queue.

    ``state`` is open, backing off, parked (rare probes), disabled (it accepts no more deliveries and is
    tried again only after a person has acted), paused (by a person), draining, or not configured; None
    while it has no worker, as in a reload. ``oldest``: time since which the oldest delivery waits; None for an
    empty queue. ``retry_at``: time of the next try; None if it has no trouble or is not tried automatically.

    ``since``: time since which it is in its present trouble, which is any state but open, or a failure of the last
    try; None if it is well. Trouble begins with the first failure after the last success, or a pause by hand.
    """

    name: str
    state: str | None
    queued: int = 0
    oldest: datetime | None = None
    last_error: str | None = None
    retry_at: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class DestinationCondition:
    """The condition of a destination with a worker, without its queue; fields as in ``DestinationStatus``.

    ``label`` is the ``state`` there, ``state`` the one below a pause by hand.
    """

    name: str
    label: str
    state: GateState
    since: datetime | None
    last_error: str | None
    retry_at: datetime | None


@dataclass(slots=True)
class _RunningWorker:
    worker: Worker
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    trouble_seen: tuple[datetime, float] | None = None
    """The gate's ``since``, and the time of trio's clock at which it was seen first."""

    def trouble_since(self, gate: Gate, instant: Instant) -> datetime | None:
        """Returns the gate's ``since``; an earlier time if the wall clock was set back meanwhile."""
        if gate.since is None:
            return None
        if self.trouble_seen is None or self.trouble_seen[0] != gate.since:
            self.trouble_seen = (gate.since, instant.now_s)
        latest = instant.now - timedelta(seconds=instant.now_s - self.trouble_seen[1])
        return latest if gate.since > latest + CLOCK_TOLERANCE else gate.since

    async def run(self) -> None:
        try:
            with self.scope:
                await self.worker.run()
        finally:
            self.ended.set()


class Dispatcher:
    """The workers by destination; made by ``open_dispatcher``."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        storage: Storage,
        host: Deliverer,
        clock: Clock,
        chance: Chance,
        announce: Callable[[AgentEvent], None],
    ) -> None:
        self._nursery = nursery
        self._storage = storage
        self._host = host
        self._clock = clock
        self._chance = chance
        self._announce = announce
        self._running: dict[str, _RunningWorker] = {}

    def start(self, settings: DestinationSettings, address_hash: AddressHash | None = None) -> None:
        """Starts a worker for this destination's queue. Stop a previous one first, else ValueError.

        ``address_hash``: if the stored gate has another address hash, its trouble is ignored: the address is new.
        """
        if settings.name in self._running:
            raise ValueError(f"{settings.name} has a worker already")
        worker = Worker(
            settings,
            storage=self._storage,
            host=self._host,
            clock=self._clock,
            chance=self._chance,
            announce=self._announce,
            wake=self.wake,
            address_hash=address_hash,
        )
        self._running[settings.name] = running = _RunningWorker(worker)
        self._nursery.start_soon(running.run, name=f"worker of {settings.name}")

    async def stop(self, name: str, timeout: float) -> None:
        """Ends this destination's worker as ``drain`` does; its queue stays in the store.

        If this call is cancelled, the worker goes on draining, and ``drain`` still waits for it.
        """
        if name in self._running:
            await self._drain_workers({name: self._running[name]}, timeout)
            del self._running[name]
            await self._release_claims(name)

    async def _release_claims(self, name: str) -> None:
        """Releases the open claims on a shared store, so that other agents can send them."""

        def release(store: Store) -> None:
            with store.transaction():
                store.outbox.release_claims(name)

        if self._storage.membership.is_shared:
            with suppress(StoreError):
                await self._storage.run(release)

    async def pause(self, name: str) -> bool:
        """Sends nothing more to this destination until ``resume``, even after a restart. Deliveries in flight end.

        Returns False if it was paused already. Queued deliveries still expire meanwhile. Raises LookupError for a
        name without a worker, StoreError if the pause cannot be stored.
        """
        changed = await self._worker(name).change_gate(gates.pause)
        if changed:
            log.info("destination paused by hand", name=name)
        return changed

    async def resume(self, name: str) -> bool:
        """Ends a pause by hand, and has a destination in trouble tried at once, even before its requested time.

        Returns False if nothing held it back. Raises as ``pause``.
        """
        changed = await self._worker(name).change_gate(gates.resume)
        if changed:
            log.info("destination resumed by hand", name=name)
        return changed

    async def unpark_all(self) -> None:
        """Lets parked and disabled destinations be tried at once, since a person may have repaired them."""
        for name, running in self._running.items():
            if running.worker.gate.state not in HELD_STATES:
                continue
            try:
                if await running.worker.change_gate(gates.unpark):
                    log.info("parked destination is tried at once", name=name)
            except StoreError as error:
                log.warning("destination stays held back", name=name, reason=str(error))

    def in_flight(self) -> frozenset[int]:
        """Returns the ids of all deliveries that may be under way. Exact only in the store's worker thread."""
        workers = [running.worker for running in list(self._running.values())]
        return frozenset(delivery_id for worker in workers for delivery_id in worker.in_flight)

    def _worker(self, name: str) -> Worker:
        if name not in self._running:
            raise LookupError(f"no destination called {name} has a worker")
        return self._running[name].worker

    def names(self) -> tuple[str, ...]:
        """Returns the destinations that have a worker. These can be paused and resumed."""
        return tuple(self._running)

    async def wait_idle(self) -> None:
        """Returns once nothing more can be sent now."""
        async with trio.open_nursery() as nursery:
            for running in self._running.values():
                nursery.start_soon(running.worker.wait_idle)

    async def drain(self, timeout: float) -> None:
        """Stops claiming and gives deliveries in flight ``timeout`` seconds to end; all others stay queued."""
        await self._drain_workers(self._running, timeout)
        self._running = {}

    async def _drain_workers(self, running: dict[str, _RunningWorker], timeout: float) -> None:
        """Drains these workers.

        Cancels a worker that takes too long; abandons one that ignores the cancellation.
        """
        for entry in running.values():
            entry.worker.drain()
        with trio.move_on_after(timeout):
            for entry in running.values():
                await entry.ended.wait()
        for name, entry in running.items():
            if not entry.ended.is_set():
                log.warning("a delivery did not end in time and stays queued", name=name)
                entry.scope.cancel()
        with trio.move_on_after(CANCEL_GRACE_S):
            for entry in running.values():
                await entry.ended.wait()
        for name, entry in running.items():
            if not entry.ended.is_set():
                log.warning("a delivery that cannot be cancelled is abandoned", name=name)

    def wake(self, names: Iterable[str]) -> None:
        """Tells these destinations' workers that there may be new deliveries. Ignores names without a worker."""
        for name in names:
            if name in self._running:
                self._running[name].worker.wake()

    async def poll_store_forever(self, interval_s: float) -> None:
        """Polls a shared store for deliveries and gate changes of other agents. Runs forever."""
        while True:
            await trio.sleep(interval_s)
            workers = {name: running.worker for name, running in self._running.items()}
            instant = Instant(self._clock.now(), trio.current_time())
            try:
                pending = await self._storage.run(
                    partial(_destinations_with_work, workers=workers, instant=instant)
                )
            except StoreError:
                continue  # the workers log the trouble
            self.wake(pending)
            for worker in workers.values():
                worker.recheck_gate()

    async def queues(self) -> dict[str, QueueStats]:
        """Returns the queue of each destination, even of those without a worker. Raises StoreError."""

        def read(store: Store) -> dict[str, QueueStats]:
            with store.transaction(purpose=TransactionPurpose.READ):
                return store.outbox.queues()

        return await self._storage.run(read)

    async def log_orphaned_queues(self) -> None:
        """Logs the queues of destinations that have no worker, because they were removed from the config or
        renamed.
        """
        try:
            queues = await self.queues()
        except StoreError as error:
            log.warning("cannot list the queues of destinations that are not configured", reason=str(error))
            return
        for name, queue in queues.items():
            if name not in self._running:
                log.warning(
                    "the queue of a destination that is not configured is kept", name=name, queued=queue.queued
                )

    def conditions(self) -> tuple[DestinationCondition, ...]:
        """Returns the condition of each destination with a worker; cheap, without the store.

        On a shared store, changes by other agents are seen after ``POLL_INTERVAL_S``.
        """
        instant = Instant(self._clock.now(), trio.current_time())
        return tuple(_condition(running, running.worker.gate, instant) for running in self._running.values())

    async def snapshot(self, configured: Collection[str] = ()) -> tuple[DestinationStatus, ...]:
        """Returns the destinations with a worker, then those with only a queue. Raises StoreError.

        ``configured``: all names in the config, with a worker or without.
        """
        workers = dict(self._running)
        instant = Instant(self._clock.now(), trio.current_time())

        def read(store: Store) -> tuple[dict[str, QueueStats], dict[str, Gate]]:
            with store.transaction(purpose=TransactionPurpose.READ):
                return store.outbox.queues(), {
                    name: running.worker.read_gate(store, instant) for name, running in workers.items()
                }

        queues, current_gates = await self._storage.run(read)
        return (
            *(
                _status(running, current_gates[name], queues.get(name), instant)
                for name, running in workers.items()
            ),
            *(
                DestinationStatus(name, None if name in configured else NOT_CONFIGURED, queue.queued, queue.oldest)
                for name, queue in queues.items()
                if name not in workers
            ),
        )


def _destinations_with_work(store: Store, *, workers: Mapping[str, Worker], instant: Instant) -> set[str]:
    """Returns the destinations with deliveries to send. Also has each worker read its gate."""
    with store.transaction(purpose=TransactionPurpose.READ):
        for worker in workers.values():
            worker.read_gate(store, instant)
        return store.outbox.destinations_with_work(list(workers))


def _condition(running: _RunningWorker, gate: Gate, instant: Instant) -> DestinationCondition:
    worker = running.worker
    return DestinationCondition(
        name=worker.settings.name,
        label="draining" if worker.draining else gate.label,
        state=gate.state,
        since=running.trouble_since(gate, instant),
        last_error=gate.last_error,
        retry_at=gate.retry_time(instant.now_s, instant.now),
    )


def _status(running: _RunningWorker, gate: Gate, queue: QueueStats | None, instant: Instant) -> DestinationStatus:
    condition = _condition(running, gate, instant)
    return DestinationStatus(
        name=condition.name,
        state=condition.label,
        queued=queue.queued if queue else 0,
        oldest=queue.oldest if queue else None,
        last_error=condition.last_error,
        retry_at=condition.retry_at,
        since=condition.since,
    )


@asynccontextmanager
async def open_dispatcher(
    *,
    storage: Storage,
    host: Deliverer,
    clock: Clock,
    chance: Chance,
    announce: Callable[[AgentEvent], None],
    poll_interval_s: float = POLL_INTERVAL_S,
) -> AsyncIterator[Dispatcher]:
    """Runs workers during the block. Call ``drain`` before its end to let deliveries in flight finish.

    ``announce`` gets the events of parked and recovered destinations; it must not block. ``poll_interval_s``: as
    ``POLL_INTERVAL_S``.
    """
    async with trio.open_nursery() as nursery:
        try:
            dispatcher = Dispatcher(
                nursery, storage=storage, host=host, clock=clock, chance=chance, announce=announce
            )
            if storage.membership.is_shared:
                nursery.start_soon(dispatcher.poll_store_forever, poll_interval_s)
            yield dispatcher
        finally:
            nursery.cancel_scope.cancel()
