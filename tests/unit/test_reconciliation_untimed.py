"""Catching up on what REST gives no times for: a sandbox that is started and fails again and again.

The promise, whatever the clocks show and however late live events come: no end is lost, and none is told twice as
far as the orchestrator's clock was known when it was asked.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.observation import Gap, Observation, ObservationBatch
from aintandem_notify.domain.runs import STATE_AFTER, TERMINAL_TYPES, RunRef, RunState
from aintandem_notify.ingest.plan import Submission
from aintandem_notify.orchestrator.catch_up.rest_snapshot import dated_by_later
from support.outbox import NOW, PROJECT, event
from support.planning import PlannedStore

REF = RunRef("p", Family.SANDBOX, "b1")
START = NOW - timedelta(days=1)


@dataclass
class World:
    """A sandbox as the orchestrator sees it; each act takes a tenth of a second of its clock.

    Ours shows ``skew`` seconds more. ``lag``: its clock is ahead of what we know by so many acts; None: we know
    nothing of it.
    """

    skew: float
    lag: int | None
    acts: int = 0
    state: RunState | None = None
    created: datetime | None = None

    def act(self, ending: str) -> Event:
        """The next thing that happens to it."""
        self.acts += 1
        if self.state is RunState.RUNNING:
            kind = ending
        else:
            kind = "sandbox_created" if self.state is None else "sandbox_started"
        self.state = STATE_AFTER[kind]
        happened = event(kind, at=self.acts / 10, sandboxId="b1")
        self.created = self.created or happened.timestamp
        return happened

    def known(self) -> datetime | None:
        """What its clock shows at least, as far as we know."""
        return None if self.lag is None else NOW + timedelta(seconds=(self.acts - self.lag) / 10 + 0.05)

    def answer(self, *, confirmed: bool = False) -> tuple[Observation, ...]:
        """What REST says about it now."""
        if self.state is None:
            return ()
        known = self.known()
        return (Observation(REF, self.state, created_at=self.created, confirmed=confirmed, asked_at=known),)

    @property
    def now(self) -> datetime:
        """By our clock."""
        return NOW + timedelta(seconds=self.acts / 10 + 0.07 + self.skew)


def hear(store: PlannedStore, world: World, events: Iterable[Event]) -> None:
    """Each in a transaction of its own."""
    for one in events:
        store.live(world.now, [one])


def ends(events: Iterable[Event]) -> Counter[str]:
    """How many ends of each type."""
    return Counter(one.type for one in events if one.type in TERMINAL_TYPES)


endings = st.sampled_from(["sandbox_stopped", "sandbox_error"])
few = st.lists(endings, max_size=4)


@settings(max_examples=1000)
@given(
    before=few,
    missed=few,
    opened=few,
    settling=few,
    later=few,
    at_last=few,
    received=st.integers(0, 6),
    then=st.integers(0, 6),
    skew=st.sampled_from([-3600.0, -1.0, 0.0, 1.0, 3600.0]),
    lag=st.sampled_from([0, 0, 1, 3, None]),
)
def test_each_end_of_a_sandbox_is_told_once(
    before: list[str],
    missed: list[str],
    opened: list[str],
    settling: list[str],
    later: list[str],
    at_last: list[str],
    received: int,
    then: int,
    skew: float,
    lag: int | None,
) -> None:
    world, store = World(skew, lag), PlannedStore()
    wire: deque[Event] = deque()

    def happens(some: list[str]) -> list[Event]:
        return [world.act(ending) for ending in some]

    def take(count: int) -> list[Event]:
        return [wire.popleft() for _ in range(min(count, len(wire)))]

    def ask(*, confirmed: bool = False) -> tuple[int, tuple[Observation, ...]]:
        """Ask, and once more after a moment in which things go on, as the survey does where no time is given."""
        moment, answer = store.recent.transaction_no, world.answer(confirmed=confirmed)
        send(settling)
        settling.clear()
        return moment, tuple(dated_by_later(answer, world.answer(confirmed=confirmed)))

    def look(moment: int, answer: tuple[Observation, ...], held: list[Event]) -> bool:
        first = {REF: held[0].timestamp} if held else {}
        return bool(
            store.take(
                world.now, Submission(PROJECT, observed=ObservationBatch(answer, gap, moment, first))
            ).doubtful
        )

    happened = happens(before)
    hear(store, world, happened)
    cut = world.now
    lost = happens(missed)
    gap = Gap(since=cut, until=world.now, watched_since=START, catch_up_max=86400)
    came = list(happened)

    def send(some: list[str]) -> None:
        events = happens(some)
        wire.extend(events)
        came.extend(events)

    send(opened)
    moment, answer = ask()
    held = take(received)
    doubtful = look(moment, answer, held)
    hear(store, world, held)
    for _ in range(3):
        if not doubtful:
            break
        send(later)
        later = []
        moment, answer = ask(confirmed=True)
        hear(store, world, take(then))
        doubtful = look(moment, answer, [])
    send(at_last)
    hear(store, world, list(wire))

    told, live = ends(store.told), ends(came)
    if lag == 0:
        # Of several ends, some of which nobody saw, it is the number that counts.
        assert told <= live if not ends(lost) else told.total() <= (live + ends(lost)).total(), (told, live, lost)
    # Nobody can tell of the end of an attempt whose beginning was lost together with the end before it.
    unseen = bool(lost) and lost[-1].type == "sandbox_started"
    assert (live - told).total() <= unseen, (told, live)
