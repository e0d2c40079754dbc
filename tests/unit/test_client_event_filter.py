"""Which events go to which subscription: the table of wishes, and many wishes at once beside each alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.client.channels.event_filter import TASKS, Routes, RunFilter, interest_in
from aintandem_notify.domain.events import EVENT_TYPES, WIRE_FAMILIES, Event, Family
from support.happenings import happening

WIRE_TYPES = [name for name, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES]
T1, X1, SB1 = RunFilter(Family.TASK, "t-1"), RunFilter(Family.WORKFLOW, "x-1"), RunFilter(Family.SANDBOX, "sb-1")


@pytest.mark.parametrize("event_type", WIRE_TYPES)
def test_each_type_reaches_those_that_want_its_family(event_type: str) -> None:
    event = happening(event_type)
    for family, everything, ours in (
        (Family.TASK, TASKS, T1),
        (Family.WORKFLOW, RunFilter(Family.WORKFLOW), X1),
        (Family.SANDBOX, RunFilter(Family.SANDBOX), SB1),
    ):
        assert everything.wants(event) == ours.wants(event) == (event.family is family)
        assert not RunFilter(family, "another").wants(event)
    assert RunFilter().wants(event)


def test_all_eight_task_types_reach_a_task() -> None:
    reached = {event_type for event_type in WIRE_TYPES if T1.wants(happening(event_type))}
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
    ("interest", "wanted"),
    [
        (RunFilter(), True),
        (TASKS, False),
        (T1, True),
        (RunFilter(Family.TASK, "t-2"), False),
        (X1, True),
        (RunFilter(Family.WORKFLOW, "x-1", "w-1"), True),
        (RunFilter(Family.WORKFLOW, "x-1", "w-2"), False),
        (SB1, True),
    ],
)
def test_an_unknown_type_goes_to_the_run_that_it_names(interest: RunFilter, wanted: bool) -> None:
    event = happening("invented", taskId="t-1", executionId="x-1", workflowId="w-1", containerId="sb-1")
    assert interest.wants(event) is wanted


def test_a_workflow_is_more_than_one_execution() -> None:
    nightly = RunFilter(Family.WORKFLOW, workflow_id="nightly-report")
    assert nightly.wants(happening("workflow_execution_started", executionId="x-2"))
    assert not nightly.wants(happening("workflow_execution_started", workflowId="another"))


@pytest.mark.parametrize(
    ("asked", "interest"),
    [
        ({}, RunFilter()),
        ({"task_id": "t-1"}, T1),
        ({"execution_id": "x-1"}, X1),
        ({"workflow_id": "w"}, RunFilter(Family.WORKFLOW, None, "w")),
        ({"workflow_id": "w", "execution_id": "x-1"}, RunFilter(Family.WORKFLOW, "x-1", "w")),
        ({"sandbox_id": "sb-1"}, SB1),
    ],
)
def test_what_the_arguments_mean(asked: dict[str, str], interest: RunFilter) -> None:
    assert interest_in(**asked) == interest


@pytest.mark.parametrize(
    "asked", [("task_id", "workflow_id"), ("task_id", "sandbox_id"), ("execution_id", "sandbox_id")]
)
def test_one_kind_of_thing_at_a_time(asked: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="a task, a workflow or a sandbox"):
        interest_in(**dict.fromkeys(asked, "1"))


IDS = st.sampled_from(["a", "b", "c"])
EVENTS = st.builds(
    lambda kind, one, other: happening(kind, taskId=one, executionId=one, sandboxId=one, workflowId=other),
    st.sampled_from([*WIRE_TYPES, "invented", "invented_too"]),
    IDS,
    IDS,
)
FAMILIES = st.sampled_from([Family.TASK, Family.WORKFLOW, Family.SANDBOX])
INTERESTS = st.one_of(
    st.just(RunFilter()),
    st.builds(RunFilter, FAMILIES, st.none() | IDS),
    st.builds(RunFilter, st.just(Family.WORKFLOW), st.none() | IDS, IDS),
)


class Reader:
    def __init__(self, interest: RunFilter) -> None:
        self.interest = interest


@given(st.lists(EVENTS, max_size=20), st.lists(INTERESTS, max_size=8), st.data())
def test_sorting_many_is_asking_each(events: list[Event], interests: list[RunFilter], data: st.DataObject) -> None:
    routes: Routes[Reader] = Routes()
    readers = [Reader(interest) for interest in interests]
    for reader in readers:
        routes.add(reader)
    for reader in data.draw(st.lists(st.sampled_from(readers), max_size=4)) if readers else []:
        routes.remove(reader)
    sorted_out = routes.sort(events)
    for reader in readers:
        expected = (
            [event for event in events if reader.interest.wants(event)] if reader in routes.everybody else []
        )
        assert list(sorted_out.get(reader, [])) == expected
    for reader in readers:
        routes.remove(reader)
    assert routes.sort(events) == {}
    assert vars(routes)["_by_run"] == {}, "nobody is remembered"
