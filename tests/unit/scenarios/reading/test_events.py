from datetime import UTC, datetime
from typing import Any

import pytest

from aintandem_notify.domain.events import Event
from aintandem_notify.scenarios.reading.events import WrongEvent, events_of, is_about_agent, project_of
from aintandem_notify.scenarios.reading.tables import EventStep

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def event(**keys: Any) -> Event:
    [(at, made)] = events_of(EventStep.model_validate(keys), "sales", NOW)
    assert at == made.timestamp == NOW
    return made


def test_a_task_in_short_is_its_id_and_its_name() -> None:
    made = event(event="task_failed", task="train", error="boom", wire={"owner": "U1"})
    assert made.wire() == {
        "type": "task_failed",
        "timestamp": "2026-01-05T12:00:00+00:00",
        "projectId": "sales",
        "taskId": "train",
        "task": "train",
        "error": "boom",
        "owner": "U1",
    }


def test_several_runs_of_a_task_have_ids_of_their_own() -> None:
    made = event(event="task_failed", task="train", task_id="t-7")
    assert (made.run_id, made.wire()["task"]) == ("t-7", "train")


def test_an_event_that_has_no_name_of_its_task_has_the_id() -> None:
    made = event(event="step_progress", task="train", step="load", progress=40)
    assert made.run_id == "train"
    assert "task" not in made.wire()


def test_workflows_and_sandboxes_in_short() -> None:
    workflow = event(event="workflow_execution_failed", workflow="etl", error="no disk")
    assert (workflow.run_id, workflow.wire()["workflowId"]) == ("etl", "etl")
    again = event(event="workflow_execution_failed", workflow="etl", execution_id="e-2")
    assert (again.run_id, again.wire()["workflowId"]) == ("e-2", "etl")
    assert event(event="sandbox_error", sandbox="box").run_id == "box"


@pytest.mark.parametrize(
    "whole", [{"type": "task_failed", "taskId": "t"}, '{"type": "task_failed", "taskId": "t"}']
)
def test_a_whole_event_as_on_the_wire(whole: object) -> None:
    made = event(event=whole)
    assert (made.type, made.run_id, made.project_id) == ("task_failed", "t", "sales")


def test_a_whole_event_of_a_type_that_nobody_knows() -> None:
    assert event(event={"type": "task_dreamt", "dream": "sheep"}).wire()["dream"] == "sheep"


def test_a_whole_event_names_its_project() -> None:
    step = EventStep.model_validate({"event": {"type": "task_failed", "taskId": "t", "projectId": "dev"}})
    assert project_of(step) == "dev"


def test_events_are_repeated_with_their_number() -> None:
    step = EventStep(event="task_failed", times=3, every=10.0, task="t-{n}", error="no {n}")
    made = [(at - NOW, item.run_id, item.wire()["error"]) for at, item in events_of(step, "sales", NOW)]
    assert [(passed.total_seconds(), *texts) for passed, *texts in made] == [
        (0, "t-1", "no 1"),
        (10, "t-2", "no 2"),
        (20, "t-3", "no 3"),
    ]


def test_an_event_of_the_agent_has_sample_values() -> None:
    made = event(event="destination_parked", instance="slack.ops")
    assert (made.wire()["instance"], made.wire()["reason"]) == ("slack.ops", "invalid_token")
    assert is_about_agent(EventStep(event="destination_parked"))
    assert not is_about_agent(EventStep(event="feed_gap"))
    assert event(event="feed_gap").project_id == "sales"


@pytest.mark.parametrize(
    ("keys", "place", "sentence"),
    [
        (
            {"event": "task_faild", "task": "t"},
            "event",
            "no event type called task_faild; did you mean task_failed?",
        ),
        ({"event": "x"}, "event", "no event type called x; give one of a new type as a whole, { type = … }"),
        ({"event": "task_failed"}, "event", 'which task is it about? add task = "…"'),
        (
            {"event": "task_failed", "task": "t", "eror": "x"},
            "eror",
            "unknown key of task_failed; did you mean error?",
        ),
        ({"event": {"type": "task_failed"}}, "event", "is no event: missing or wrong field: task_failed.taskId"),
        (
            {"event": {"type": "task_failed"}, "task": "t"},
            "task",
            "unknown key; a whole event has its fields inside of it",
        ),
        ({"event": "{nonsense"}, "event", "is not JSON"),
        ({"event": "[1]"}, "event", "no event type called [1]; give one of a new type as a whole, { type = … }"),
        ({"event": {"type": "ping"}}, "event", "is no event: ping"),
        (
            {"event": "sandbox_stopped", "sandbox": ""},
            "event",
            "is no event: missing or wrong field: sandbox_stopped.sandboxId",
        ),
    ],
)
def test_a_wrong_event_is_a_sentence(keys: dict[str, Any], place: str, sentence: str) -> None:
    with pytest.raises(WrongEvent) as raised:
        event(**keys)
    assert (raised.value.place, str(raised.value)) == ((place,), sentence)
