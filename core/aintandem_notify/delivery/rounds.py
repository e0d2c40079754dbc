"""One round of a destination's worker, as one transaction: records results, and claims the next deliveries."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from aintandem_notify.delivery import gate as gates
from aintandem_notify.delivery.backlog.digest import fold_backlog
from aintandem_notify.delivery.backlog.fallback import select_for_fallback
from aintandem_notify.delivery.gate import Gate
from aintandem_notify.delivery.hand_overs import Ended
from aintandem_notify.delivery.judge import Action, Verdict
from aintandem_notify.delivery.settings import DestinationSettings
from aintandem_notify.delivery.settlement import MAX_DUE_AHEAD, settle
from aintandem_notify.delivery.stored_gate import Instant, StoredGate
from aintandem_notify.domain.notification import STORE_THREAD
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.store import Claim, Settlement, Store, TransactionPurpose

IDLE_S: Final = 60.0
"""Seconds after which an idle worker checks its queue again, in case the wall clock was set."""

STORE_IDLE_S: Final = 5.0
"""Seconds after which it does so while the store has trouble."""

BACKLOG_CHECK_INTERVAL_S: Final = 10.0
"""Seconds between two checks whether the backlog is too large."""

RECHECK_S: Final = 1.0
"""Seconds after which the queue is read again although deliveries are under way, whose ends have it read, too."""


@dataclass(frozen=True, slots=True)
class Room:
    """The room that the destination has for new deliveries when a round begins.

    ``hand_overs``: how many more may begin; none while draining. ``turns``: the turns of the gate at which those
    began that are under way. Nothing begins before ``not_before_s``, by trio's clock.
    """

    hand_overs: int
    turns: Collection[int] = ()
    not_before_s: float = 0.0

    def opens_at(self, gate: Gate, *, for_others: bool = False) -> float:
        """Time of the next possible send by trio's clock; ``for_others``: after ``gate.probe_after``."""
        return max(gate.opens_for_others_at if for_others else gate.opens_at, self.not_before_s)


@dataclass(frozen=True, slots=True)
class RoundResult:
    """Result of one round: the gate before and after it, and the claims to send.

    ``failures``: the deliveries that did not arrive, with the verdicts. ``taken_over``: number of dead deliveries
    that the fallback took over. ``folded``: number of deliveries that a summary replaced.

    ``next_look_s``: seconds until the queue has to be read again, even if nothing happens, once gate and room
    allow it; None if they did not, so that the queue was not read. Do not look at the gate instead: it may have
    opened while the call returned from the store's worker thread, and the worker would sleep although deliveries
    are due.
    """

    before: Gate
    after: Gate
    claims: Sequence[Claim] = ()
    next_look_s: float | None = None
    failures: Sequence[tuple[Claim, Verdict]] = ()
    taken_over: int = 0
    folded: int = 0


class Rounds:
    """The rounds of one destination, which run in the store's worker thread.

    ``under_way``: the deliveries that may be under way, as of the last commit. Exact only in that thread.
    """

    def __init__(self, settings: DestinationSettings, gate: StoredGate, chance: Chance) -> None:
        self.under_way: frozenset[int] = frozenset()
        self._settings = settings
        self._gate = gate
        self._chance = chance
        self._next_backlog_check_s = 0.0
        self._next_far_look_s = 0.0

    def claim_limit(self, gate: Gate, room: Room, now_s: float) -> int:
        """Returns the number of deliveries that may be claimed now."""
        if now_s < room.opens_at(gate, for_others=True):
            return 0
        limit = room.hand_overs * self._settings.in_flight
        return gate.claim_limit(limit, self._settings.rate, is_probing=gate.turns in room.turns)

    def run(self, store: Store, ended: Ended, room: Room, instant: Instant) -> RoundResult:
        """Runs one round. Nothing else changes the gate meanwhile."""
        gate = self._gate.value
        if not ended and self._gate.was_read() and not self.claim_limit(gate, room, instant.now_s):
            return RoundResult(gate, gate)
        remaining = self.under_way - ended.ids
        with store.transaction(purpose=TransactionPurpose.RECORD):
            result = self._settle_and_claim(store, ended, room, instant, remaining)
        self._gate.on_committed(result.after)
        self.under_way = remaining.union(claim.id for claim in result.claims)
        return result

    def _settle_and_claim(
        self, store: Store, ended: Ended, room: Room, instant: Instant, under_way: Collection[int]
    ) -> RoundResult:
        before = gate = self._gate.read(store, instant, lock=True)
        if ended.unsent:
            store.outbox.release_claims(self._settings.name, [claim.id for claim in ended.unsent])
            gate = self._forget_probe(store, gate, ended.unsent_turn)
        settlements: list[Settlement] = []
        failures: list[tuple[Claim, Verdict]] = []
        for outcome in ended.outcomes:
            record, verdict, gate = settle(
                gate, outcome, self._settings.max_age, self._chance, self._settings.patience
            )
            settlements.append(record)
            if verdict is None:
                gate = self._forget_probe(store, gate, outcome.turn)
            elif verdict.action is not Action.DELIVERED:
                failures.append((outcome.claim, verdict))
        store.outbox.settle(settlements)
        for_fallback = select_for_fallback(self._settings, settlements)
        if for_fallback and self._settings.fallback is not None:
            store.backlog.move_to_fallback(for_fallback, self._settings.fallback, instant.now)
        gate = gates.date_trouble(gate, store.membership.now(instant.now))
        folded = self._fold(store, gate, instant, under_way)
        claims, next_look_s = self._claim(store, gate, room, instant, under_way)
        if claims:
            gate = gates.start_send(gate, self._settings.rate, instant.now_s)
            if store.membership.is_shared:
                gate = gates.start_probe(gate, instant.now_s)
        self._gate.write(store, before, gate, instant)
        return RoundResult(before, gate, claims, next_look_s, failures, len(for_fallback), folded)

    def _forget_probe(self, store: Store, gate: Gate, turn: int | None) -> Gate:
        """Returns the gate after a claim was not sent: in a shared store it may have been the probe of all."""
        return gates.cancel_probe(gate) if store.membership.is_shared and turn == gate.turns else gate

    def _claim(
        self, store: Store, gate: Gate, room: Room, instant: Instant, under_way: Collection[int]
    ) -> tuple[Sequence[Claim], float | None]:
        """Returns the claims to send, and ``RoundResult.next_look_s``."""
        limit = self.claim_limit(gate, room, instant.now_s)
        if not limit:
            return (), None
        name, now, horizon = self._settings.name, instant.now, instant.now + MAX_DUE_AHEAD
        is_parallel, is_well = self._settings.parallel > 1, store.status.is_well
        claim = partial(
            store.outbox.claim,
            name,
            limit=limit,
            now=now,
            horizon=horizon,
            under_way=under_way if is_parallel else None,
        )
        if gate.probe_after is not None and is_well and (claims := claim(after=gate.probe_after)):
            return claims, 0.0
        if instant.now_s < room.opens_at(gate):
            return (), 0.0
        # A store in trouble could not record the results, so only the notice of that trouble is sent.
        thread, idle_s = (None, IDLE_S) if is_well else (STORE_THREAD, STORE_IDLE_S)
        claims = claim(thread=thread)
        rest = limit - len(claims)
        if rest and is_parallel and is_well:
            # The queue of one run may fill the window. A look beyond takes longer, so it must be worth it.
            pause_s = self._next_far_look_s - instant.now_s
            if pause_s <= 0:
                taken = {*under_way, *(each.id for each in claims)}
                others = claim(limit=rest, under_way=taken, beyond_window=True)
                self._next_far_look_s = instant.now_s + (RECHECK_S if len(others) < rest else 0.0)
                claims = [*claims, *others]
            else:
                idle_s = min(idle_s, pause_s)
        if claims:
            return claims, 0.0 if len(claims) == limit else RECHECK_S
        due = store.outbox.next_due(name, now=now, horizon=horizon)
        return (), idle_s if due is None else min(idle_s, (due - now).total_seconds())

    def _fold(self, store: Store, gate: Gate, instant: Instant, under_way: Collection[int]) -> int:
        """Folds the backlog if it is too large and the destination is well. Returns the number folded."""
        if not gate.is_flowing:
            self._next_backlog_check_s = 0.0
            return 0
        if (
            self._settings.digest_over is None
            or instant.now_s < self._next_backlog_check_s
            or not store.status.is_well
        ):
            return 0
        self._next_backlog_check_s = instant.now_s + BACKLOG_CHECK_INTERVAL_S
        return fold_backlog(store, self._settings.name, self._settings.digest_over, instant.now, under_way)
