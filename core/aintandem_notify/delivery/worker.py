"""One destination's worker: claims due deliveries, hands them to the plugin and records the results.

``_deliver`` is the loop. Each round of it is one transaction (``rounds``): it records all results since the last
one, and claims the next deliveries. ``hand_overs`` calls the plugin with them. ``judge`` and ``settlement`` decide
about a result, ``gate`` about the destination, ``backlog`` about deliveries that wait.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final

import trio

from aintandem_notify.delivery import gate as gates
from aintandem_notify.delivery.backlog.expiry import expire_waiting
from aintandem_notify.delivery.gate import HELD_STATES, Gate
from aintandem_notify.delivery.hand_overs import Ended, HandOvers
from aintandem_notify.delivery.judge import Action, Verdict
from aintandem_notify.delivery.rounds import Room, RoundResult, Rounds
from aintandem_notify.delivery.settings import Deliverer, DestinationSettings
from aintandem_notify.delivery.stored_gate import AddressHash, Instant, StoredGate
from aintandem_notify.domain.events import AgentEvent, DestinationParkedEvent, DestinationRecoveredEvent
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.backoff import Chance, stepped_delay
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.log import get_logger
from aintandem_notify.store import Claim, Storage, Store, TransactionPurpose

STORE_PAUSES_S: Final[Sequence[float]] = (1.0, 5.0, 15.0, 30.0)
"""Pauses in seconds between tries of a failing store; the last repeats."""

log: Final = get_logger(__name__)


class Worker:
    """Works on one destination's queue.

    ``run`` ends when cancelled, or once ``drain`` has let deliveries finish.
    """

    def __init__(
        self,
        settings: DestinationSettings,
        *,
        storage: Storage,
        host: Deliverer,
        clock: Clock,
        chance: Chance,
        announce: Callable[[AgentEvent], None],
        wake: Callable[[Iterable[str]], None] = lambda _names: None,
        address_hash: AddressHash | None = None,
    ) -> None:
        self.settings = settings
        self.draining: bool = False
        self._storage = storage
        self._host = host
        self._clock = clock
        self._chance = chance
        self._announce = announce
        self._wake = wake
        self._gate = StoredGate(settings.name, settings.rate.interval if settings.rate else None, address_hash)
        self._rounds = Rounds(settings, self._gate, chance)
        self._hand_overs = HandOvers(settings, host, clock, on_end=self._on_change)
        self._is_cancelled = False
        self._has_new_work = True
        self._queue_was_read = False
        self._next_look_s = 0.0
        self._next_slot_s = 0.0
        self._changed = trio.Event()
        self._idle = trio.Event()
        self._store_failed = False

    @property
    def gate(self) -> Gate:
        """The gate as this worker last read or wrote it."""
        return self._gate.value

    @property
    def in_flight(self) -> frozenset[int]:
        """The deliveries that may be under way. Exact only in the store's worker thread."""
        return self._rounds.under_way

    def wake(self) -> None:
        """Tells the worker that there may be new deliveries."""
        self._has_new_work = True
        self._on_change()

    async def wait_idle(self) -> None:
        """Returns once nothing more can be sent now; at once if the gate or the plugin holds the queue back."""
        if not self.gate.is_flowing or not self._host.is_loaded(self.settings.name):
            return
        self._idle = trio.Event()
        self.wake()
        await self._idle.wait()

    def drain(self) -> None:
        """Stops claiming. ``run`` returns once the deliveries in flight have ended and are recorded."""
        self.draining = True
        self._on_change()

    async def change_gate(self, step: Callable[[Gate], Gate]) -> bool:
        """Applies an operator's ``step`` to the gate. Returns whether it changed; the change is on disk then.

        Raises StoreError.
        """
        instant = self._instant()

        def change(store: Store) -> bool:
            with store.transaction(purpose=TransactionPurpose.RECORD):
                before = self._gate.read(store, instant, lock=True)
                after = gates.date_trouble(step(before), store.membership.now(instant.now))
                self._gate.write(store, before, after, instant)
            self._gate.on_committed(after)
            return before != after

        changed = await self._storage.run(change)
        self._on_change()
        return changed

    def recheck_gate(self) -> None:
        """Tells the worker that the gate was read again; another agent may have changed it."""
        self._on_change()

    def read_gate(self, store: Store, instant: Instant) -> Gate:
        """Reads the gate from the store. Inside a transaction."""
        return self._gate.read(store, instant)

    async def run(self) -> None:
        """Delivers, and gives up deliveries that wait too long, even while the plugin cannot be called."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expire_waiting)
            nursery.start_soon(self._cancel_hand_overs_at_end)
            await self._read_stored_gate()
            await self._deliver()
            nursery.cancel_scope.cancel()

    async def _cancel_hand_overs_at_end(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.draining = self._is_cancelled = True
            self._hand_overs.cancel()
            self._on_change()

    async def _read_stored_gate(self) -> None:
        """Reads the gate even if the plugin cannot be called yet, so that ``gate`` shows stored trouble."""
        instant = self._instant()

        def read(store: Store) -> None:
            with store.transaction(purpose=TransactionPurpose.READ):
                self._gate.read(store, instant)

        with suppress(StoreError):  # each round reads it, too, and logs the trouble
            await self._storage.run(read)

    async def _expire_waiting(self) -> None:
        await expire_waiting(
            self.settings,
            storage=self._storage,
            clock=self._clock,
            in_flight=lambda: self.in_flight,
            taken_over=self._on_taken_over,
        )

    def _on_taken_over(self, count: int) -> None:
        if count and self.settings.fallback is not None:
            log.warning("deliveries taken over", name=self.settings.name, by=self.settings.fallback, count=count)
            self._wake([self.settings.fallback])

    async def _deliver(self) -> None:
        """Runs rounds until a drain or a cancellation has ended the hand-overs, and their results are recorded."""
        # Shielded, so that a cancellation loses no result: it cancels the hand-overs, and they end the loop.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                while not (self.draining and self._hand_overs.is_empty):
                    room, ended = self._room(), self._hand_overs.take_ended()
                    if ended or self._look_at(room) <= trio.current_time():
                        await self._run_round(nursery, ended, room)
                    else:
                        await self._wait_for_change(self._look_at(room))

    def _room(self) -> Room:
        can_send = not self.draining and self._host.is_loaded(self.settings.name)
        return Room(self._hand_overs.free if can_send else 0, self._hand_overs.turns, self._next_slot_s)

    def _look_at(self, room: Room) -> float:
        """Returns the time at which the queue is to be read, by trio's clock; infinity while there is no room.

        A gate in doubt is open for new deliveries.
        """
        if not self._rounds.claim_limit(self.gate, room, math.inf):
            return math.inf
        if self._has_new_work:
            return room.opens_at(self.gate, for_others=True)
        return max(room.opens_at(self.gate), self._next_look_s)

    async def _wait_for_change(self, look_at: float) -> None:
        """Waits for an end, a wake-up, another gate or a drain, but not beyond ``look_at``."""
        if self._hand_overs.is_empty and not self._will_send_more:
            self._idle.set()
        self._changed = trio.Event()
        with trio.move_on_at(look_at):
            if self._host.is_loaded(self.settings.name):
                await self._changed.wait()
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._notice_loaded)
                await self._changed.wait()
                nursery.cancel_scope.cancel()

    @property
    def _will_send_more(self) -> bool:
        """True if more may be sent soon, although nothing is under way."""
        return self.gate.is_flowing and (self._has_new_work or not self._queue_was_read)

    async def _notice_loaded(self) -> None:
        await self._host.wait_loaded(self.settings.name)
        self._on_change()

    def _on_change(self) -> None:
        self._changed.set()

    async def _run_round(self, nursery: trio.Nursery, ended: Ended, room: Room) -> None:
        has_new_work, self._has_new_work = self._has_new_work, False
        current = await self._record_and_claim(ended, room)
        now_s = trio.current_time()
        self._queue_was_read = current.next_look_s is not None and not current.claims
        self._next_look_s = now_s + (current.next_look_s or 0.0)
        if current.next_look_s is None:
            self._has_new_work |= has_new_work
        if not current.claims:
            return
        turn = current.after.turns
        if not self._may_send():
            self._hand_overs.return_unsent(current.claims, turn)
        elif self._hand_overs.start(nursery, current.claims, turn) and self.settings.rate is not None:
            # The claim may have taken longer than the interval.
            self._next_slot_s = now_s + self.settings.rate.interval

    def _may_send(self) -> bool:
        """True if nothing has happened since the claim that forbids to send it."""
        return (
            not self.draining
            and not self._hand_overs.meets_trouble
            and self._storage.membership.may_send
            and self._host.is_loaded(self.settings.name)
        )

    def _instant(self) -> Instant:
        return Instant(self._clock.now(), trio.current_time())

    def _log_verdict(self, claim: Claim, verdict: Verdict) -> None:
        facts = {"destination": self.settings.name, "notification": claim.notification.id}
        if verdict.retries_as_plain:
            log.warning("notification refused, trying it once more as plain text", **facts, reason=verdict.reason)
        elif verdict.action in (Action.REFUSE, Action.GIVE_UP):
            log.warning("delivery given up", **facts, reason=verdict.reason)
        elif verdict.action is Action.RETRY and verdict.history.blame > claim.blame:
            log.warning("only this notification does not arrive, trying it again", **facts, reason=verdict.reason)
        elif verdict.action is Action.RETRY:
            log.warning("plugin failed on a notification, trying it again", **facts, reason=verdict.reason)

    def _report_gate_change(self, before: Gate, after: Gate) -> None:
        name, now, reason = self.settings.name, self._clock.now(), after.last_error or ""
        if before.state is after.state:
            if after.failures > before.failures:
                log.info("destination is still in trouble", name=name, state=after.state.value, reason=reason)
            return
        write_log = log.warning if after.state in HELD_STATES else log.info
        write_log("destination changed state", name=name, state=after.state.value, reason=reason)
        if after.state in HELD_STATES:
            self._announce(DestinationParkedEvent(timestamp=now, instance=name, reason=reason))
        elif before.state in HELD_STATES:
            self._announce(DestinationRecoveredEvent(timestamp=now, instance=name))

    async def _record_and_claim(self, ended: Ended, room: Room) -> RoundResult:
        """Runs a round in the store's worker thread, again and again while the store fails.

        Meanwhile nothing is sent, and the results are kept here; otherwise those deliveries would be sent twice.
        Only a cancellation gives them up, and a drain gives up if there are none.
        """
        for failures in count():
            run = partial(self._rounds.run, ended=ended, room=room, instant=self._instant())
            try:
                current = await self._storage.run(run)
            except StoreError as error:
                self._log_store_trouble(str(error))
                await self._pause(stepped_delay(failures, pauses=STORE_PAUSES_S, chance=self._chance), ended)
                if self._gives_up(ended):
                    return RoundResult(self.gate, self.gate)
            else:
                self._log_store_trouble(None)
                for claim, verdict in current.failures:
                    self._log_verdict(claim, verdict)
                self._report_gate_change(current.before, current.after)
                self._on_taken_over(current.taken_over)
                if current.folded:
                    log.info("backlog folded into a summary", name=self.settings.name, count=current.folded)
                return current
        raise AssertionError("count() does not end")

    def _gives_up(self, ended: Ended) -> bool:
        return self._is_cancelled or (self.draining and not ended.outcomes)

    async def _pause(self, seconds: float, ended: Ended) -> None:
        """Sleeps, unless the results are given up."""
        with trio.move_on_after(seconds):
            while not self._gives_up(ended):
                self._changed = trio.Event()
                await self._changed.wait()

    def _log_store_trouble(self, trouble: str | None) -> None:
        if trouble is not None and not self._store_failed:
            log.error("sending stops until the store works again", name=self.settings.name, reason=trouble)
        elif trouble is None and self._store_failed:
            log.info("the store works again, sending goes on", name=self.settings.name)
        self._store_failed = trouble is not None
