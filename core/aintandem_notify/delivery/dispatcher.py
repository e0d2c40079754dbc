"""All workers: started and stopped one by one, woken by ingest, drained at the end, and seen from outside."""

import math
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import trio

from aintandem_notify.delivery import gate as gates
from aintandem_notify.delivery.gate import HELD_STATES, Gate, GateState
from aintandem_notify.delivery.settings import DestinationSettings
from aintandem_notify.delivery.stored_gate import Instant, PlaceHash
from aintandem_notify.delivery.worker import Deliverer, Worker
from aintandem_notify.domain.events import AgentEvent
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.log import get_logger
from aintandem_notify.store import QueueSummary, Storage, Store, TransactionPurpose

NOT_CONFIGURED: Final = "not configured"
"""The state of a destination whose queue is kept though no config at hand names it."""
POLL_INTERVAL_S: Final = 2.0
"""Seconds between two looks at a store that others change, too; nobody wakes the workers for what they did."""
CANCEL_GRACE_S: Final = 2.0
"""Seconds that a cancelled delivery may take to end: a shield holds it, or a thread that it waits for."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """How a destination stands.

    ``state`` is open, backing off, parked (rare probes), disabled (it wants nothing more; only a hand lets it
    be tried), paused (by hand), draining, or not configured; None while it has no worker, as in a reload.
    ``oldest``: since when the oldest delivery waits, None when none does. ``retry_at``: when it is tried again,
    None when it is not in trouble or not tried by itself.
    """

    name: str
    state: str | None
    queued: int = 0
    oldest: datetime | None = None
    last_error: str | None = None
    retry_at: datetime | None = None


@dataclass(slots=True)
class _RunningWorker:
    worker: Worker
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)

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

    def start(self, settings: DestinationSettings, place: PlaceHash | None = None) -> None:
        """Work on this destination's queue from now on; one that works already must be stopped first.

        What the store holds against a destination at another ``place`` does not count.
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
            place=place,
        )
        self._running[settings.name] = running = _RunningWorker(worker)
        self._nursery.start_soon(running.run, name=f"worker of {settings.name}")

    async def stop(self, name: str, timeout: float) -> None:
        """End this destination's worker; its queue stays in the store. As ``drain``, for one.

        Cancelled, it leaves the worker draining, and ``drain`` still waits for it.
        """
        if name in self._running:
            await self._end({name: self._running[name]}, timeout)
            del self._running[name]
            await self._put_back(name)

    async def _put_back(self, name: str) -> None:
        """What was claimed and did not go out, others may have."""

        def release_claims(store: Store) -> None:
            with store.transaction():
                store.outbox.release_claims(name)

        if self._storage.is_shared:
            with suppress(StoreError):
                await self._storage.run(release_claims)

    async def pause(self, name: str) -> bool:
        """Hold this destination's queue back, also over a restart, until ``resume``; what is in flight may end.

        Whether anything changed: false when it was paused already. What waits still grows too old meanwhile.
        Raises LookupError for a name without a worker, StoreError when it cannot be stored.
        """
        moved = await self._worker(name).change_gate(gates.pause)
        if moved:
            log.info("destination paused by hand", name=name)
        return moved

    async def resume(self, name: str) -> bool:
        """End a pause by hand, and let a destination in trouble be tried at once, whatever it has asked for.

        Whether anything changed: false when nothing held it back. Raises as ``pause``.
        """
        moved = await self._worker(name).change_gate(gates.resume)
        if moved:
            log.info("destination resumed by hand", name=name)
        return moved

    async def unpark_all(self) -> None:
        """Somebody may have mended what only a person can: try parked destinations at once."""
        for name, one in self._running.items():
            if one.worker.gate.state not in HELD_STATES:
                continue
            try:
                if await one.worker.change_gate(gates.unpark):
                    log.info("parked destination is tried at once", name=name)
            except StoreError as error:
                log.warning("destination stays on hold", name=name, reason=str(error))

    def in_flight(self) -> frozenset[int]:
        """All deliveries that may be on their way; exact in the store's thread."""
        return frozenset(one for running in list(self._running.values()) for one in running.worker.in_flight)

    def _worker(self, name: str) -> Worker:
        if name not in self._running:
            raise LookupError(f"no destination called {name} is at work")
        return self._running[name].worker

    def names(self) -> tuple[str, ...]:
        """The destinations that have a worker, and so can be paused and resumed."""
        return tuple(self._running)

    async def wait_idle(self) -> None:
        """Returns once all destinations have got what they can take now."""
        async with trio.open_nursery() as nursery:
            for one in self._running.values():
                nursery.start_soon(one.worker.wait_idle)

    async def drain(self, timeout: float) -> None:
        """Take nothing more; what is in flight may end within ``timeout`` seconds, the rest stays queued."""
        await self._end(self._running, timeout)
        self._running = {}

    async def _end(self, running: dict[str, _RunningWorker], timeout: float) -> None:
        """As ``drain``, for these; a worker whose plugin does not let go after that is left to itself."""
        for one in running.values():
            one.worker.drain()
        with trio.move_on_after(timeout):
            for one in running.values():
                await one.ended.wait()
        for name, one in running.items():
            if not one.ended.is_set():
                log.warning("a delivery did not end in time and stays queued", name=name)
                one.scope.cancel()
        with trio.move_on_after(CANCEL_GRACE_S):
            for one in running.values():
                await one.ended.wait()
        for name, one in running.items():
            if not one.ended.is_set():
                log.warning("a delivery that cannot be cancelled is left behind", name=name)

    def wake(self, names: Iterable[str]) -> None:
        """There may be something new for these; names without a worker are ignored."""
        for name in names:
            if name in self._running:
                self._running[name].worker.wake()

    async def poll_store_forever(self) -> None:
        """Notice what other agents that share the store have queued, put back, or turned; runs for ever."""
        while True:
            await trio.sleep(POLL_INTERVAL_S)
            workers = {name: one.worker for name, one in self._running.items()}
            instant = Instant(self._clock.now(), trio.current_time())
            try:
                found = await self._storage.run(partial(_destinations_with_work, workers=workers, instant=instant))
            except StoreError:
                continue  # the workers tell of the trouble
            self.wake(found)
            for worker in workers.values():
                worker.recheck_gate()

    async def queues(self) -> dict[str, QueueSummary]:
        """What waits, by destination, also for those without a worker. Raises StoreError."""

        def read(store: Store) -> dict[str, QueueSummary]:
            with store.transaction(purpose=TransactionPurpose.READ):
                return store.outbox.queues()

        return await self._storage.run(read)

    async def log_orphaned_queues(self) -> None:
        """Log the queues of destinations that nobody works on: removed from the config, or misnamed."""
        try:
            queues = await self.queues()
        except StoreError as error:
            log.warning("cannot tell which queues are left behind", reason=str(error))
            return
        for name, queue in queues.items():
            if name not in self._running:
                log.warning(
                    "the queue of a destination that is not configured is kept", name=name, queued=queue.queued
                )

    async def snapshot(self, configured: Collection[str] = ()) -> tuple[DestinationStatus, ...]:
        """Every destination that has a worker, then those without one that have a queue. Raises StoreError.

        ``configured``: the names that the config has, with a worker or without.
        """
        workers = {name: one.worker for name, one in self._running.items()}
        instant = Instant(self._clock.now(), trio.current_time())

        def read(store: Store) -> tuple[dict[str, QueueSummary], dict[str, Gate]]:
            with store.transaction(purpose=TransactionPurpose.READ):
                return store.outbox.queues(), {
                    name: one.read_gate(store, instant) for name, one in workers.items()
                }

        queues, found = await self._storage.run(read)
        return (
            *(_status(worker, found[name], queues.get(name), instant) for name, worker in workers.items()),
            *(
                DestinationStatus(name, None if name in configured else NOT_CONFIGURED, one.queued, one.oldest)
                for name, one in queues.items()
                if name not in workers
            ),
        )


def _destinations_with_work(store: Store, *, workers: Mapping[str, Worker], instant: Instant) -> set[str]:
    """Which destinations have something to deliver; the workers learn how their gates stand."""
    with store.transaction(purpose=TransactionPurpose.READ):
        for worker in workers.values():
            worker.read_gate(store, instant)
        return store.outbox.destinations_with_work(list(workers))


def _status(worker: Worker, gate: Gate, queue: QueueSummary | None, instant: Instant) -> DestinationStatus:
    is_tried = gate.state is not GateState.OPEN and math.isfinite(gate.opens_at)
    wait_s = max(0.0, gate.retry_at - instant.now_s)
    return DestinationStatus(
        name=worker.settings.name,
        state="draining" if worker.draining else gate.label,
        queued=queue.queued if queue else 0,
        oldest=queue.oldest if queue else None,
        last_error=gate.last_error,
        retry_at=instant.now + timedelta(seconds=wait_s) if is_tried else None,
    )


@asynccontextmanager
async def open_dispatcher(
    *,
    storage: Storage,
    host: Deliverer,
    clock: Clock,
    chance: Chance,
    announce: Callable[[AgentEvent], None],
) -> AsyncIterator[Dispatcher]:
    """The workers live inside the block; ``drain`` before its end lets what is in flight finish.

    ``announce`` gets the events of parked and recovered destinations and must not block.
    """
    async with trio.open_nursery() as nursery:
        try:
            dispatcher = Dispatcher(
                nursery, storage=storage, host=host, clock=clock, chance=chance, announce=announce
            )
            if storage.is_shared:
                nursery.start_soon(dispatcher.poll_store_forever)
            yield dispatcher
        finally:
            nursery.cancel_scope.cancel()
