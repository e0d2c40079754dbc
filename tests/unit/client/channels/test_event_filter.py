"""Event filters: each filter alone, and an index of many filters, which must give the same result."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.client.channels.event_filter import (
    ALL_TASKS,
    SubscriberIndex,
    SubscriptionFilter,
    filter_from_ids,
)
from aintandem_notify.domain.events import EVENT_TYPES, WIRE_FAMILIES, Event, Family
from support.happenings import happening

WIRE_TYPES = [name for name, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES]
T1, X1, SB1 = (
    SubscriptionFilter(Family.TASK, "t-1"),
    SubscriptionFilter(Family.WORKFLOW, "x-1"),
    SubscriptionFilter(Family.SANDBOX, "sb-1"),
)


@pytest.mark.parametrize("event_type", WIRE_TYPES)
def test_each_type_reaches_those_that_want_its_family(event_type: str) -> None:
    event = happening(event_type)
    for family, everything, ours in (
        (Family.TASK, ALL_TASKS, T1),
        (Family.WORKFLOW, SubscriptionFilter(Family.WORKFLOW), X1),
        (Family.SANDBOX, SubscriptionFilter(Family.SANDBOX), SB1),
    ):
        assert everything.matches(event) == ours.matches(event) == (event.family is family)
        assert not SubscriptionFilter(family, "another").matches(event)
    assert SubscriptionFilter().matches(event)


def test_all_eight_task_types_reach_a_task() -> None:
    reached = {event_type for event_type in WIRE_TYPES if T1.matches(happening(event_type))}
    assert reached == {
        "task_queued",
        "task_started",
        "step_progress",
        "output",
        "artifact",
        "task_completed",
        "task_failed",
        "task_cancelled",
    }


@pytest.mark.parametrize(
    ("event_filter", "expected"),
    [
        (SubscriptionFilter(), True),
        (ALL_TASKS, False),
        (T1, True),
        (SubscriptionFilter(Family.TASK, "t-2"), False),
        (X1, True),
        (SubscriptionFilter(Family.WORKFLOW, "x-1", "w-1"), True),
        (SubscriptionFilter(Family.WORKFLOW, "x-1", "w-2"), False),
        (SB1, True),
    ],
)
def test_an_unknown_type_goes_to_the_run_that_it_names(event_filter: SubscriptionFilter, expected: bool) -> None:
    event = happening("invented", taskId="t-1", executionId="x-1", workflowId="w-1", containerId="sb-1")
    assert event_filter.matches(event) is expected


def test_a_workflow_is_more_than_one_execution() -> None:
    nightly = SubscriptionFilter(Family.WORKFLOW, workflow_id="nightly-report")
    assert nightly.matches(happening("workflow_execution_started", executionId="x-2"))
    assert not nightly.matches(happening("workflow_execution_started", workflowId="another"))


@pytest.mark.parametrize(
    ("ids", "event_filter"),
    [
        ({}, SubscriptionFilter()),
        ({"task_id": "t-1"}, T1),
        ({"execution_id": "x-1"}, X1),
        ({"workflow_id": "w"}, SubscriptionFilter(Family.WORKFLOW, None, "w")),
        ({"workflow_id": "w", "execution_id": "x-1"}, SubscriptionFilter(Family.WORKFLOW, "x-1", "w")),
        ({"sandbox_id": "sb-1"}, SB1),
    ],
)
def test_the_filter_for_ids(ids: dict[str, str], event_filter: SubscriptionFilter) -> None:
    assert filter_from_ids(**ids) == event_filter


@pytest.mark.parametrize(
    "ids", [("task_id", "workflow_id"), ("task_id", "sandbox_id"), ("execution_id", "sandbox_id")]
)
def test_one_kind_of_thing_at_a_time(ids: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="one task, workflow or sandbox"):
        filter_from_ids(**dict.fromkeys(ids, "1"))


IDS = st.sampled_from(["a", "b", "c"])
EVENTS = st.builds(
    lambda kind, run_id, workflow_id: happening(
        kind, taskId=run_id, executionId=run_id, sandboxId=run_id, workflowId=workflow_id
    ),
    st.sampled_from([*WIRE_TYPES, "invented", "invented_too"]),
    IDS,
    IDS,
)
FAMILIES = st.sampled_from([Family.TASK, Family.WORKFLOW, Family.SANDBOX])
FILTERS = st.one_of(
    st.just(SubscriptionFilter()),
    st.builds(SubscriptionFilter, FAMILIES, st.none() | IDS),
    st.builds(SubscriptionFilter, st.just(Family.WORKFLOW), st.none() | IDS, IDS),
)


class Reader:
    def __init__(self, event_filter: SubscriptionFilter) -> None:
        self.event_filter = event_filter


@given(st.lists(EVENTS, max_size=20), st.lists(FILTERS, max_size=8), st.data())
def test_sorting_many_is_asking_each(
    events: list[Event], filters: list[SubscriptionFilter], data: st.DataObject
) -> None:
    index: SubscriberIndex[Reader] = SubscriberIndex()
    readers = [Reader(event_filter) for event_filter in filters]
    for reader in readers:
        index.add(reader)
    for reader in data.draw(st.lists(st.sampled_from(readers), max_size=4)) if readers else []:
        index.remove(reader)
    batches = index.split(events)
    for reader in readers:
        expected = (
            [event for event in events if reader.event_filter.matches(event)]
            if reader in index.subscribers
            else []
        )
        assert list(batches.get(reader, [])) == expected
    for reader in readers:
        index.remove(reader)
    assert index.split(events) == {}
    assert vars(index)["_by_run_id"] == {}, "nobody is remembered"
