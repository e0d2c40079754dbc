"""The hand-overs of one destination: claims that its plugin delivers now, and results that are not recorded yet.

A hand-over holds the deliveries that are given to the plugin at once, one after the other. Several may run at a
time. No two hold deliveries of one thread; the claim sees to that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio
from outcome import Value

from aintandem_notify.delivery.judge import TROUBLE, judge
from aintandem_notify.delivery.rendering import render_claim
from aintandem_notify.delivery.settings import Deliverer, DestinationSettings
from aintandem_notify.delivery.settlement import Outcome, fault_history, is_too_old
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.store import Claim


@dataclass(frozen=True, slots=True)
class Ended:
    """The results since the last record: outcomes of tries, and ``unsent`` claims, which were not tried.

    ``unsent_turn``: the turn of the gate at which the last of these was claimed.
    """

    outcomes: Sequence[Outcome] = ()
    unsent: Sequence[Claim] = ()
    unsent_turn: int = 0

    def __bool__(self) -> bool:
        return bool(self.outcomes or self.unsent)

    @property
    def ids(self) -> frozenset[int]:
        """The deliveries that are no longer under way once this is recorded."""
        return frozenset((*(outcome.claim.id for outcome in self.outcomes), *(claim.id for claim in self.unsent)))


@dataclass(eq=False, slots=True)
class _HandOver:
    claims: Sequence[Claim]
    turn: int
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class HandOvers:
    """The hand-overs that run, and the results of those that have ended. ``on_end`` is called at each end."""

    def __init__(
        self, settings: DestinationSettings, host: Deliverer, clock: Clock, on_end: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._host = host
        self._clock = clock
        self._on_end = on_end
        self._running: set[_HandOver] = set()
        self._outcomes: list[Outcome] = []
        self._unsent: list[Claim] = []
        self._unsent_turn = 0

    @property
    def free(self) -> int:
        """The number of hand-overs that may begin now."""
        return self._settings.parallel - len(self._running)

    @property
    def is_empty(self) -> bool:
        """True if none runs and nothing has to be recorded."""
        return not (self._running or self._outcomes or self._unsent)

    @property
    def meets_trouble(self) -> bool:
        """True if an outcome that is not recorded yet will turn the gate."""
        return any(outcome.verdict and outcome.verdict.action in TROUBLE for outcome in self._outcomes)

    @property
    def turns(self) -> frozenset[int]:
        """The turns of the gate at which those began that run."""
        return frozenset(hand_over.turn for hand_over in self._running)

    def take_ended(self) -> Ended:
        """Returns the results since the last call."""
        ended = Ended(self._outcomes, self._unsent, self._unsent_turn)
        self._outcomes, self._unsent = [], []
        return ended

    def return_unsent(self, claims: Sequence[Claim], turn: int) -> None:
        """Gives back claims that are not tried now."""
        self._unsent += claims
        self._unsent_turn = turn

    def start(self, nursery: trio.Nursery, claims: Sequence[Claim], turn: int) -> bool:
        """Begins to deliver the claims in as many hand-overs as are free; False if all are too old to be sent.

        ``turn``: the ``turns`` of the gate at which they were claimed.
        """
        now, age_measured_at = self._clock.now(), self._clock.capped_now()
        live = [claim for claim in claims if not is_too_old(claim, self._settings.max_age, age_measured_at)]
        if len(live) < len(claims):
            expired = [claim for claim in claims if claim not in live]
            self._outcomes += [Outcome(claim, now, trio.current_time(), turn=turn) for claim in expired]
        count = min(self.free, len(live))
        for first in range(count):
            hand_over = _HandOver(live[first::count], turn)
            self._running.add(hand_over)
            nursery.start_soon(self._run, hand_over)
        return bool(live)

    def cancel(self) -> None:
        """Cancels those that run. Their claims stay queued, unless the plugin delivers them all the same."""
        for hand_over in self._running:
            hand_over.scope.cancel()

    async def _run(self, hand_over: _HandOver) -> None:
        results: Sequence[DeliveryResult] = ()
        with hand_over.scope:
            results = await self._host.deliver(self._settings.name, list(map(render_claim, hand_over.claims)))
        self._running.remove(hand_over)
        tried = zip(hand_over.claims, results, strict=False)
        self._outcomes += [self._judge(claim, result, hand_over.turn) for claim, result in tried]
        if len(results) < len(hand_over.claims):
            self.return_unsent(hand_over.claims[len(results) :], hand_over.turn)
        self._on_end()

    def _judge(self, claim: Claim, result: DeliveryResult, turn: int) -> Outcome:
        error, receipt = (None, result.value) if isinstance(result, Value) else (result.error, None)
        verdict = judge(error, fault_history(claim), plain=claim.plain)
        return Outcome(claim, self._clock.now(), trio.current_time(), verdict, receipt, turn)
