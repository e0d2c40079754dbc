"""The lines that ``tail`` makes for events, and the runs that it considers in progress."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify import log
from aintandem_notify.domain.events import EVENT_TYPES, WIRE_FAMILIES, Event, Family
from aintandem_notify.domain.notification import Project, Severity
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.runs import RunRef, RunState
from aintandem_notify.domain.samples import sample_event
from aintandem_notify.live_view import model
from aintandem_notify.live_view.model import DETAIL_LINES, DisplayLine, RunTracker, output_lines

PROJECT = Project(id="project-123", name="Sales")
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def make_event(event_type: str, *, seconds: int = 0, **fields: Any) -> Event:
    wire = {"type": event_type, "projectId": "project-123", "taskId": "task-0001", **fields}
    return EVENT_TYPES[event_type].from_wire(wire, NOON + timedelta(seconds=seconds))


def lines(tracker: RunTracker, event: Event) -> list[DisplayLine]:
    return tracker.record_event(event, PROJECT)()


def texts(tracker: RunTracker, *events: Event) -> list[str]:
    return [line.text for event in events for line in lines(tracker, event)]


def test_a_task_from_its_queue_to_its_end() -> None:
    tracker = RunTracker()
    assert texts(
        tracker, make_event("task_queued", task="Analyse"), make_event("task_started", task="Analyse", seconds=1)
    ) == [
        'Task "Analyse" is queued (task-0001)',
        'Task "Analyse" started (task-0001)',
    ]
    step = make_event("step_progress", step="Load", status="running", progress=40, message="3 of 8 files")
    assert texts(tracker, step) == ['Task "Analyse": Load is running, 40%: 3 of 8 files']
    (bar,) = tracker.bars()
    assert (bar.label, bar.percent, bar.step, bar.message) == ("Analyse", 40.0, "Load", "3 of 8 files")
    assert bar.since == NOON + timedelta(seconds=1)
    artifact = {"path": "out/report.pdf", "type": "pdf", "size": 12_000}
    assert texts(tracker, make_event("artifact", artifact=artifact)) == ['Task "Analyse" made report.pdf, 12.0 KB']
    (end,) = lines(tracker, make_event("task_failed", error="no such file\nat line 3", seconds=61))
    assert (end.text, end.details) == ('Task "Analyse" failed after 1 min', ("no such file", "at line 3"))
    assert end.severity is Severity.ERROR
    assert tracker.bars() == ()


def test_output_is_lines_under_the_name_of_its_task() -> None:
    tracker = RunTracker()
    lines(tracker, make_event("task_started", task="Analyse"))
    (line,) = lines(tracker, make_event("output", output="one\r\ntwo\n"))
    assert (line.label, line.is_output, line.text, line.details) == ("Analyse", True, "one", ("two",))


def test_a_message_that_repeats_its_step_is_left_out() -> None:
    step = make_event("step_progress", step="Load", status="running", message="Load: running")
    assert texts(RunTracker(), step) == ['Task "task-0001": Load is running']


def test_a_repeated_end_is_shown_once_and_a_late_event_brings_no_bar_back() -> None:
    tracker = RunTracker()
    texts(tracker, make_event("task_started", task="Analyse"))
    assert texts(tracker, make_event("task_completed"), make_event("task_completed", seconds=9)) == [
        'Task "Analyse" completed after 0 ms'
    ]
    (late,) = lines(tracker, make_event("output", output="bye"))
    assert (late.label, late.text) == ("Analyse", "bye")
    assert tracker.bars() == ()
    texts(tracker, make_event("task_started", seconds=20))
    assert [bar.since for bar in tracker.bars()] == [NOON + timedelta(seconds=20)]


def test_two_tasks_of_one_name_get_different_labels() -> None:
    tracker = RunTracker()
    second: dict[str, Any] = {"taskId": "task-0002"}
    texts(
        tracker, make_event("task_started", task="Analyse"), make_event("task_started", task="Analyse", **second)
    )
    assert [bar.label for bar in tracker.bars()] == ["Analyse", "Analyse …0002"]
    assert texts(tracker, make_event("step_progress", step="Load"), make_event("task_cancelled", **second)) == [
        'Task "Analyse": Load moved',
        'Task "Analyse …0002" was cancelled after 0 ms',
    ]


def test_two_executions_of_one_workflow_get_different_labels() -> None:
    for name, visible in (("Deploy", "Deploy"), ("x" * 100, "x" * 94)):
        tracker = RunTracker()
        executions: list[dict[str, Any]] = [
            {"executionId": f"execution-{number}", "workflowId": name} for number in (1001, 1002)
        ]
        assert texts(tracker, *(make_event("workflow_execution_started", **ids) for ids in executions)) == [
            f'Workflow "{name}" started (execution-1001)',
            f'Workflow "{visible} …1002" started (execution-1002)',
        ]
        phases = [make_event("workflow_phase_started", phaseId="p", phase="Build", **ids) for ids in executions]
        ends = [make_event("workflow_execution_completed", **ids) for ids in executions]
        assert texts(tracker, *phases, *ends) == [
            f'Workflow "{name}": phase Build started',
            f'Workflow "{visible} …1002": phase Build started',
            f'Workflow "{name}" completed after 0 ms',
            f'Workflow "{visible} …1002" completed after 0 ms',
        ]


def test_a_queued_task_a_workflow_and_a_sandbox_have_no_bar() -> None:
    tracker = RunTracker()
    workflow: dict[str, Any] = {"executionId": "execution-1", "workflowId": "Deploy"}
    events = [
        make_event("task_queued"),
        make_event("workflow_execution_started", **workflow),
        make_event("workflow_phase_started", phaseId="p", phase="Build", **workflow),
        make_event("sandbox_stopped", sandboxId="sandbox-1", exitCode=137),
    ]
    assert texts(tracker, *events)[1:] == [
        'Workflow "Deploy" started (execution-1)',
        'Workflow "Deploy": phase Build started',
        'Sandbox "sandbox-1" stopped, exit code 137',
    ]
    assert tracker.bars() == ()


@pytest.mark.parametrize(("progress", "percent"), [(None, None), (-5, 0.0), (250, 100.0), ("odd", None)])
def test_progress_that_is_no_percentage(progress: object, percent: float | None) -> None:
    tracker = RunTracker()
    texts(tracker, make_event("step_progress", step="Load", progress=progress))
    assert [bar.percent for bar in tracker.bars()] == [percent]


def test_a_running_task_gets_a_bar_unless_it_is_known_or_ended() -> None:
    tracker = RunTracker()
    texts(tracker, make_event("task_completed", taskId="task-0002"))

    def running_task(number: int) -> Observation:
        ref = RunRef("project-123", Family.TASK, f"task-000{number}")
        return Observation(ref, RunState.RUNNING, name="Analyse", started_at=NOON)

    tracker.add_observed(PROJECT, [running_task(1), running_task(2)])
    tracker.add_observed(PROJECT, [running_task(1)])
    assert [(bar.label, bar.since) for bar in tracker.bars()] == [("Analyse", NOON)]
    assert tracker.unfinished_runs("project-123") == (running_task(1).ref,)
    assert tracker.unfinished_runs("project-456") == ()
    tracker.forget(running_task(1).ref)
    assert tracker.bars() == ()


def test_a_long_error_keeps_its_beginning_and_its_end() -> None:
    (end,) = lines(RunTracker(), make_event("task_failed", error="\n".join(map(str, range(40)))))
    assert len(end.details) == DETAIL_LINES
    assert (end.details[0], end.details[4], end.details[-1]) == ("0", "[… 29 more lines]", "39")


@pytest.mark.parametrize("event_type", [name for name in EVENT_TYPES if EVENT_TYPES[name].family in WIRE_FAMILIES])
def test_every_type_has_a_line(event_type: str) -> None:
    (line,) = lines(RunTracker(), sample_event(event_type, timestamp=NOON, projectId="project-123"))
    assert line.text


@given(st.text())
def test_output_of_a_task_cannot_control_the_terminal(text: str) -> None:
    tracker = RunTracker()
    events = [
        make_event("task_started", task=text),
        make_event("output", output=text),
        make_event("step_progress", step=text, message=text),
        make_event("artifact", artifact={"path": text}),
        make_event("task_failed", error=text),
    ]
    shown = [line for event in events[:-1] for line in lines(tracker, event)]
    visible = [word for bar in tracker.bars() for word in (bar.label, bar.step, bar.message)]
    shown += lines(tracker, events[-1])
    visible += [word for line in shown for word in (line.text, line.label, *line.details)]
    assert not [word for word in visible if {*word} & {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e"}]


def test_output_without_escape_sequences() -> None:
    assert output_lines("\x1b[31mred\x1b[0m\x1b]0;title\x07\r\n10%\r20%\tdone\n") == ["red", "20%     done"]


def test_a_secret_that_a_task_writes_in_pieces_is_shown_in_none() -> None:
    log.register_secret("Xq7vLm2Rt9Kp4Zs8")
    tracker = RunTracker()
    pieces = ["in with Xq7vLm", "2R", "t9Kp4Zs8 now\n", "x" * 3990 + "Xq7vLm2Rt9Kp4Zs8"]
    shown = texts(tracker, *(make_event("output", output=piece, seconds=at) for at, piece in enumerate(pieces)))
    (failed,) = lines(tracker, make_event("task_failed", seconds=9))
    visible = "\n".join([*shown, failed.text, *failed.details])
    assert shown[:3] == ["in with [redacted]", "[redacted]", "[redacted] now"]
    assert not [part for part in ("Xq7v", "Lm2R", "t9Kp", "4Zs8") if part in visible]


def test_runs_that_never_end_are_bounded_with_one_notice() -> None:
    tracker, lines = RunTracker(max_tracked=3), list[str]()
    for number in range(10):
        lines += texts(tracker, make_event("task_started", taskId=f"t{number}", task=f"task {number}"))
        texts(tracker, make_event("output", taskId="t0", output="still here"))
    assert [bar.label for bar in tracker.bars()] == ["task 0", "task 8", "task 9"]
    assert [ref.id for ref in tracker.unfinished_runs("project-123")] == ["t0", "t8", "t9"]
    assert len(tracker._by_last_event) == len(tracker._tracked) == 3  # runs without a bar must be bounded as well
    assert [line for line in lines if "runs are under way" in line] == [model.FULL_NOTICE]
