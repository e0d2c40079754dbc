"""One destination's worker: claims due deliveries, hands them to the plugin and records the results.

``_deliver`` is the loop. Each round of it is one transaction: it records the last results and claims the next
deliveries (``_settle_and_claim``); then ``_send`` calls the plugin. ``judge`` and ``settlement`` decide about a
result, ``gate`` about the destination, ``fallback``, ``expiry`` and ``digest`` about deliveries that wait.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Final

import trio

from aintandem_notify.delivery import gate as gates
from aintandem_notify.delivery.digest import fold_backlog
from aintandem_notify.delivery.expiry import expire_waiting
from aintandem_notify.delivery.fallback import select_for_fallback
from aintandem_notify.delivery.gate import HELD_STATES, Gate
from aintandem_notify.delivery.judge import Action, Verdict, judge
from aintandem_notify.delivery.rendering import render_claim
from aintandem_notify.delivery.settings import Deliverer, DestinationSettings
from aintandem_notify.delivery.settlement import MAX_DUE_AHEAD, Outcome, fault_history, is_too_old, settle
from aintandem_notify.delivery.stored_gate import AddressHash, Instant, StoredGate
from aintandem_notify.domain.events import AgentEvent, DestinationParkedEvent, DestinationRecoveredEvent
from aintandem_notify.domain.notification import STORE_THREAD
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.backoff import Chance, stepped_delay
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.log import get_logger
from aintandem_notify.plugins.runtime.calls import Delivered, DeliveryResult
from aintandem_notify.store import Claim, Settlement, Storage, Store, TransactionPurpose

IDLE_S: Final = 60.0
"""Seconds after which an idle worker checks its queue again, in case the wall clock was set."""

STORE_IDLE_S: Final = 5.0
"""Seconds after which it does so while the store has trouble."""

BACKLOG_CHECK_INTERVAL_S: Final = 10.0
"""Seconds between two checks whether the backlog is too large."""

STORE_PAUSES_S: Final[Sequence[float]] = (1.0, 5.0, 15.0, 30.0)
"""Pauses in seconds between tries of a failing store; the last repeats."""

log = get_logger(__name__)


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
        self.draining = False
        self._storage = storage
        self._host = host
        self._clock = clock
        self._chance = chance
        self._announce = announce
        self._wake = wake
        self._gate = StoredGate(settings.name, settings.rate.interval if settings.rate else None, address_hash)
        self._next_slot_s = 0.0
        self._next_backlog_check_s = 0.0
        self._work_available = trio.Event()
        self._idle = trio.Event()
        self._gate_changed = trio.Event()
        self._wait_scope = trio.CancelScope()
        self._in_flight: tuple[int, ...] = ()
        self._store_failed = False

    @property
    def gate(self) -> Gate:
        """The gate as this worker last read or wrote it."""
        return self._gate.value

    @property
    def in_flight(self) -> tuple[int, ...]:
        """The deliveries that may be under way. Exact only in the store's worker thread."""
        return self._in_flight

    def wake(self) -> None:
        """Tells the worker that there may be new deliveries."""
        self._work_available.set()
        if self.gate.doubted:
            self._gate_changed.set()

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
        self._wait_scope.cancel()

    async def change_gate(self, step: Callable[[Gate], Gate]) -> bool:
        """Applies an operator's ``step`` to the gate. Returns whether it changed; the change is on disk then.

        Raises StoreError.
        """
        instant = self._instant()

        def change(store: Store) -> bool:
            with store.transaction(purpose=TransactionPurpose.RECORD):
                before = self._gate.read(store, instant, lock=True)
                after = gates.date_trouble(step(before), store.now(instant.now))
                self._gate.write(store, before, after, instant)
            self._gate.on_committed(after)
            return before != after

        changed = await self._storage.run(change)
        self._gate_changed.set()
        return changed

    def recheck_gate(self) -> None:
        """Tells the worker that the gate was read again; another agent may have changed it."""
        self._gate_changed.set()

    def read_gate(self, store: Store, instant: Instant) -> Gate:
        """Reads the gate from the store. Inside a transaction."""
        return self._gate.read(store, instant)

    async def run(self) -> None:
        """Delivers, and gives up deliveries that wait too long, even while the plugin cannot be called."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expire_waiting)
            await self._read_stored_gate()
            await self._deliver()
            nursery.cancel_scope.cancel()

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
            in_flight=lambda: self._in_flight,
            taken_over=self._on_taken_over,
        )

    def _on_taken_over(self, count: int) -> None:
        if count and self.settings.fallback is not None:
            log.warning("deliveries taken over", name=self.settings.name, by=self.settings.fallback, count=count)
            self._wake([self.settings.fallback])

    async def _deliver(self) -> None:
        while not self.draining:
            with self._until_drained():
                await self._host.wait_loaded(self.settings.name)
                await self._wait_open()
            self._work_available = trio.Event()
            current = await self._record_and_claim([])
            while current.claims:
                current = await self._record_and_claim(await self._send(current.claims))
            if current.next_due_s is not None:
                if not self._work_available.is_set():
                    self._idle.set()
                with self._until_drained(), trio.move_on_after(current.next_due_s):
                    await self._work_available.wait()

    async def _wait_open(self) -> None:
        """Returns once the gate is open: its time has come, or somebody has opened it.

        A gate in doubt is open for new deliveries.
        """
        while True:
            self._gate_changed = trio.Event()
            is_new = self._work_available.is_set()
            wait_s = self._opens_at(self.gate, for_others=is_new) - trio.current_time()
            if not self.gate.is_flowing:
                self._idle.set()
            if wait_s <= 0:
                return
            with trio.move_on_after(wait_s):
                await self._gate_changed.wait()

    def _opens_at(self, gate: Gate, *, for_others: bool = False) -> float:
        # A claimed delivery may have waited for its plugin and gone out later than its slot.
        return max(gate.opens_for_others_at if for_others else gate.opens_at, self._next_slot_s)

    def _until_drained(self) -> trio.CancelScope:
        """Returns a scope that ``drain`` cancels."""
        self._wait_scope = trio.CancelScope()
        if self.draining:
            self._wait_scope.cancel()
        return self._wait_scope

    def _instant(self) -> Instant:
        return Instant(self._clock.now(), trio.current_time())

    async def _send(self, claims: Sequence[Claim]) -> list[Outcome]:
        """Delivers the claims. Returns the outcome of each that was tried or is too old."""
        with self._until_drained():
            await self._host.wait_loaded(self.settings.name)
        if self.draining or not self._storage.may_send:
            return []
        now, age_measured_at = self._clock.now(), self._clock.capped_now()
        expired = [claim for claim in claims if is_too_old(claim, self.settings.max_age, age_measured_at)]
        outcomes = [Outcome(claim, now, trio.current_time()) for claim in expired]
        live = [claim for claim in claims if claim not in expired] if expired else claims
        if live:
            if self.settings.rate is not None:
                self._next_slot_s = trio.current_time() + self.settings.rate.interval
            results = await self._host.deliver(self.settings.name, list(map(render_claim, live)))
            outcomes += [self._judge_result(claim, result) for claim, result in zip(live, results, strict=False)]
        return outcomes

    def _judge_result(self, claim: Claim, result: DeliveryResult) -> Outcome:
        error, receipt = (None, result.receipt) if isinstance(result, Delivered) else (result.error, None)
        return Outcome(claim, *self._instant(), judge(error, fault_history(claim), plain=claim.plain), receipt)

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

    async def _record_and_claim(self, outcomes: Sequence[Outcome]) -> "_RoundResult":
        """Records the outcomes and claims the next deliveries, in one call in the store's worker thread.

        While the store fails, nothing is sent. The outcomes are kept here until they are recorded; otherwise those
        deliveries would be sent twice.
        """
        for failures in count():
            try:
                # A cancellation must not lose the outcomes; the call is short.
                with trio.CancelScope(shield=bool(outcomes)):
                    current = await self._storage.run(self._record_and_claim_in_store(outcomes))
            except StoreError as error:
                self._log_store_trouble(str(error))
                # A drain ends the pause only if there are no outcomes; else they must be recorded first.
                with trio.CancelScope() if outcomes else self._until_drained():
                    await trio.sleep(stepped_delay(failures, pauses=STORE_PAUSES_S, chance=self._chance))
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

    def _record_and_claim_in_store(self, outcomes: Sequence[Outcome]) -> "Callable[[Store], _RoundResult]":
        """Returns the function for the store's worker thread; nothing else changes the gate meanwhile."""
        instant = self._instant()

        def record_and_claim(store: Store) -> _RoundResult:
            if not outcomes and self._gate.was_read() and not self._claim_limit(self.gate, instant):
                return _RoundResult(self.gate, self.gate)
            with store.transaction(purpose=TransactionPurpose.RECORD):
                current = self._settle_and_claim(store, outcomes, instant)
            self._gate.on_committed(current.after)
            self._in_flight = tuple(claim.id for claim in current.claims)
            return current

        return record_and_claim

    def _settle_and_claim(self, store: Store, outcomes: Sequence[Outcome], instant: Instant) -> "_RoundResult":
        before = gate = self._gate.read(store, instant, lock=True)
        if len(outcomes) < len(self._in_flight):
            store.outbox.release_claims(self.settings.name)
        settlements: list[Settlement] = []
        failures: list[tuple[Claim, Verdict]] = []
        for outcome in outcomes:
            record, verdict, gate = settle(gate, outcome, self.settings.max_age, self._chance)
            settlements.append(record)
            if verdict is None:
                gate = gates.cancel_probe(gate) if store.is_shared else gate
            elif verdict.action is not Action.DELIVERED:
                failures.append((outcome.claim, verdict))
        store.outbox.settle(settlements)
        for_fallback = select_for_fallback(self.settings, settlements)
        if for_fallback and self.settings.fallback is not None:
            store.backlog.move_to_fallback(for_fallback, self.settings.fallback, instant.now)
        gate = gates.date_trouble(gate, store.now(instant.now))
        folded = self._fold(store, gate, instant)
        claims, next_due_s = self._claim(store, gate, instant)
        if claims:
            gate = gates.start_send(gate, self.settings.rate, instant.now_s)
            if store.is_shared:
                gate = gates.start_probe(gate, instant.now_s)
        self._gate.write(store, before, gate, instant)
        return _RoundResult(before, gate, claims, next_due_s, failures, len(for_fallback), folded)

    def _claim(self, store: Store, gate: Gate, instant: Instant) -> tuple[Sequence[Claim], float | None]:
        """Returns the claims to send, and the seconds until the next check if there are none.

        None instead of seconds: the gate is closed, at least for the first in the queue.
        """
        limit = self._claim_limit(gate, instant)
        if not limit:
            return (), None
        name, now, horizon = self.settings.name, instant.now, instant.now + MAX_DUE_AHEAD
        outbox, is_well = store.outbox, store.status.is_well
        if gate.probe_after is not None and is_well:
            claims = outbox.claim(name, limit=limit, now=now, horizon=horizon, after=gate.probe_after)
            if claims:
                return claims, None
        if instant.now_s < self._opens_at(gate):
            return (), None
        # A store in trouble could not record the results, so only the notice of that trouble is sent.
        thread, idle_s = (None, IDLE_S) if is_well else (STORE_THREAD, STORE_IDLE_S)
        claims = outbox.claim(name, limit=limit, now=now, horizon=horizon, thread=thread)
        due = None if claims else outbox.next_due(name, now=now, horizon=horizon)
        return claims, idle_s if due is None else min(idle_s, (due - now).total_seconds())

    def _fold(self, store: Store, gate: Gate, instant: Instant) -> int:
        """Folds the backlog if it is too large and the destination is well. Returns the number folded."""
        if not gate.is_flowing:
            self._next_backlog_check_s = 0.0
            return 0
        if (
            self.settings.digest_over is None
            or instant.now_s < self._next_backlog_check_s
            or not store.status.is_well
        ):
            return 0
        self._next_backlog_check_s = instant.now_s + BACKLOG_CHECK_INTERVAL_S
        return fold_backlog(store, self.settings.name, self.settings.digest_over, instant.now)

    def _claim_limit(self, gate: Gate, instant: Instant) -> int:
        """Returns the number of deliveries that may be claimed now."""
        is_open = not self.draining and instant.now_s >= self._opens_at(gate, for_others=True)
        return gate.claim_limit(self.settings.in_flight, self.settings.rate) if is_open else 0

    def _log_store_trouble(self, trouble: str | None) -> None:
        if trouble is not None and not self._store_failed:
            log.error("sending stops until the store works again", name=self.settings.name, reason=trouble)
        elif trouble is None and self._store_failed:
            log.info("the store works again, sending goes on", name=self.settings.name)
        self._store_failed = trouble is not None


@dataclass(frozen=True, slots=True)
class _RoundResult:
    """Result of one transaction: the gate before and after it, and the claims to send.

    ``failures``: the deliveries that did not arrive, with the verdicts. ``taken_over``: number of dead deliveries
    that the fallback took over. ``folded``: number of deliveries that a summary replaced.

    ``next_due_s``: seconds until the next check of the queue if there are no claims; None if the gate was closed
    and the queue was not read. Do not read the gate instead: it may have opened while the call returned from the
    store's worker thread, and the worker would sleep although deliveries are due.
    """

    before: Gate
    after: Gate
    claims: Sequence[Claim] = ()
    next_due_s: float | None = None
    failures: Sequence[tuple[Claim, Verdict]] = ()
    taken_over: int = 0
    folded: int = 0
