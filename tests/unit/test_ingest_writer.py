"""How much goes into one transaction, as a table."""

import pytest

from aintandem_notify.ingest.writer import MOST_EVENTS, MOST_KEPT, portions, room_after
from support.outbox import FakeRouter, event


@pytest.mark.parametrize(
    ("kept", "in_memory", "room"),
    [
        (250, 250, 250),  # every event is told, and somebody fetches from memory
        (250, 500, 250),  # what was kept before went out meanwhile
        (250, 125, 500),  # half of the events are told
        (250, 10, 1000),  # hardly any
        (250, 0, 1000),  # no rule matches, or memory is full
        (1000, 1000, 250),  # there is room again
        (1000, 250, 1000),
        (1, 1, 250),
        (0, 0, 250),
    ],
)
def test_a_transaction_is_larger_where_nobody_fetches_from_memory(kept: int, in_memory: int, room: int) -> None:
    assert room_after(kept, in_memory) == room


def test_what_is_handed_in_is_cut_into_what_there_is_room_for_at_that_moment() -> None:
    rooms = iter([MOST_KEPT, MOST_EVENTS, MOST_KEPT, MOST_KEPT])
    ends = [event("task_completed", run=f"t{number}") for number in range(MOST_KEPT + MOST_EVENTS + 7)]
    cut = list(portions(ends, FakeRouter(), lambda: next(rooms)))
    assert [kept for _, kept in cut] == [MOST_KEPT, MOST_EVENTS, 7]
    assert [one for portion, _ in cut for one in portion] == ends


def test_passing_events_fill_a_portion_too() -> None:
    lines = [event("output", at=number) for number in range(2 * MOST_EVENTS + 1)]
    cut = list(portions(lines, FakeRouter(types=frozenset()), lambda: MOST_KEPT))
    assert [(len(portion), kept) for portion, kept in cut] == [(MOST_EVENTS, 0), (MOST_EVENTS, 0), (1, 0)]
