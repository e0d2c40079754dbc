"""The history holds the newest events, however they arrived."""

from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.client.channels.event_history import EventHistory
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.samples import sample_event

sizes = st.lists(st.integers(1, 12), max_size=12)


def new_events(count: int) -> list[Event]:
    return [sample_event("output").model_copy() for _ in range(count)]


def are_same(events: list[Event], expected: list[Event]) -> bool:
    return list(map(id, events)) == list(map(id, expected))


@given(sizes, st.integers(0, 20))
def test_it_holds_the_newest_events_in_order(sizes: list[int], limit: int) -> None:
    history, all_events = EventHistory(limit), new_events(sum(sizes))
    start = 0
    for size in sizes:
        history.add(all_events[start : start + size])
        start += size
        assert are_same(history.events(), all_events[:start][max(0, start - limit) :])


@given(sizes, st.integers(0, 20))
def test_it_forgets_what_it_does_not_show_soon(sizes: list[int], limit: int) -> None:
    history = EventHistory(limit)
    for size in sizes:
        history.add(new_events(size))

    assert sum(map(len, history._batches)) <= 2 * limit


def test_it_begins_anew_once_cleared() -> None:
    history, (event,) = EventHistory(3), new_events(1)
    history.add(new_events(3))
    history.clear()
    assert history.events() == []

    history.add([event])

    assert are_same(history.events(), [event])
