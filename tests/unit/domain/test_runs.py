"""The state machine of a run: every cell of the table, and the invariants of any sequence of events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain import runs
from aintandem_notify.domain.events import EVENT_TYPES, WIRE_FAMILIES, Event, Family, event_from
from aintandem_notify.domain.runs import (
    MAX_NAME_CHARACTERS,
    OPENING_TYPES,
    OUTPUT_TAIL_CHARACTERS,
    OUTPUT_TAIL_LINES,
    PROGRESS_TYPES,
    RUN_FIELDS_BY_TYPE,
    STATE_AFTER,
    TERMINAL_STATES,
    TERMINAL_TYPES,
    Run,
    RunRef,
    RunState,
    advance,
    apply_progress,
    run_ref,
    tail,
)
from support.outbox import NOW, event

RUN_TYPES = sorted(kind for kind, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES)
LATER = NOW + timedelta(minutes=1)


def wire(kind: str, at: datetime = LATER, **fields: Any) -> Event:
    """An event of any run type; all are about the run "r"."""
    names = {"taskId": "r", "executionId": "r", "workflowId": "w", "sandboxId": "r", "phaseId": "ph"}
    frame = {"type": kind, "timestamp": at.isoformat(), "artifact": {"path": "a"}} | names | fields
    changed = event_from(frame, "p", NOW)
    assert isinstance(changed, Event), changed
    return changed


def state_expected(before: RunState | None, kind: str) -> tuple[int, RunState, bool]:
    """The (attempt, state, repeated) after an event: a second implementation, from the contract."""
    target = STATE_AFTER.get(kind)
    if before is None:
        return 1, target or RunState.RUNNING, False
    if before in TERMINAL_STATES:
        if kind in OPENING_TYPES:
            assert target is not None
            return 2, target, False
        if target in TERMINAL_STATES:
            assert target is not None
            return 1, target, target is before
        return 1, before, False
    if target is None or target is RunState.QUEUED:
        return 1, before, False
    return 1, target, False


@pytest.mark.parametrize("kind", RUN_TYPES)
@pytest.mark.parametrize("before", [None, *RunState])
def test_every_cell_of_the_table(before: RunState | None, kind: str) -> None:
    event = wire(kind)
    latest = None if before is None else Run("p", event.family, "r", state=before, name="r", started_at=NOW)
    run = advance(latest, event)
    repeated = run is latest
    assert (run.attempt, run.state, repeated) == state_expected(before, kind)
    assert run.ref == RunRef("p", event.family, "r")
    assert run.updated_at == (None if repeated else LATER)
    if kind in TERMINAL_TYPES and not repeated:
        assert run.ended_at == LATER


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("task_queued", "queued"),
        ("task_started", "running"),
        ("task_completed", "completed"),
        ("task_failed", "failed"),
        ("task_cancelled", "cancelled"),
        ("workflow_execution_created", "queued"),
        ("workflow_execution_started", "running"),
        ("workflow_execution_paused", "paused"),
        ("workflow_execution_resumed", "running"),
        ("workflow_execution_completed", "completed"),
        ("workflow_execution_failed", "failed"),
        ("sandbox_created", "queued"),
        ("sandbox_started", "running"),
        ("sandbox_stopped", "completed"),
        ("sandbox_error", "failed"),
        ("step_progress", "running"),
        ("output", "running"),
        ("artifact", "running"),
        ("workflow_phase_started", "running"),
        ("workflow_phase_completed", "running"),
    ],
)
def test_the_state_that_each_of_the_20_types_leads_to(kind: str, state: str) -> None:
    assert advance(None, wire(kind)).state == state


def test_all_run_types_are_covered() -> None:
    assert len(RUN_TYPES) == 20
    assert set(STATE_AFTER) | set(RUN_FIELDS_BY_TYPE) | PROGRESS_TYPES | {"artifact"} == set(RUN_TYPES)


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("task_queued", {"task": "Analyse"}, {"name": "Analyse"}),
        ("task_started", {"task": "Analyse"}, {"name": "Analyse"}),
        ("task_completed", {"task": "Analyse"}, {"name": "Analyse"}),
        ("task_failed", {"task": "Analyse"}, {"name": "Analyse"}),
        ("task_cancelled", {"task": "Analyse"}, {"name": "Analyse"}),
        ("task_started", {"task": ""}, {"name": "r"}),
        ("task_started", {}, {"name": "r"}),
        ("step_progress", {"step": "load", "progress": 0}, {"step": "load", "progress": 0.0}),
        ("step_progress", {"progress": None}, {"step": "before", "progress": 7.0}),
        ("output", {"output": "more"}, {"output_tail": "tail more", "step": "before"}),
        ("artifact", {}, {"name": "r", "output_tail": "tail "}),
        ("workflow_execution_created", {}, {"name": "w", "workflow_id": "w"}),
        ("workflow_execution_started", {}, {"name": "w", "workflow_id": "w"}),
        ("workflow_phase_started", {"phase": "build"}, {"step": "build", "workflow_id": "w"}),
        ("workflow_phase_completed", {"phase": "build"}, {"step": "build", "workflow_id": "w"}),
        ("workflow_execution_paused", {}, {"workflow_id": "w", "step": "before"}),
        ("workflow_execution_resumed", {}, {"workflow_id": "w"}),
        ("workflow_execution_completed", {}, {"workflow_id": "w"}),
        ("workflow_execution_failed", {}, {"workflow_id": "w"}),
        ("sandbox_started", {}, {"name": "r", "workflow_id": None}),
    ],
)
def test_fields_that_an_event_sets_and_leaves(
    kind: str, fields: dict[str, Any], expected: dict[str, object]
) -> None:
    event = wire(kind, **fields)
    known = Run("p", event.family, "r", name="r", step="before", progress=7.0, output_tail="tail ")
    run = advance(known, event)
    assert {name: getattr(run, name) for name in expected} == expected


def test_times_and_duration() -> None:
    run = advance(None, event("task_queued"))
    run = advance(run, event("task_started", at=2))
    run = advance(run, event("step_progress", at=3))
    assert run.duration is None
    run = advance(run, event("task_completed", at=7))
    assert run.duration == 5
    assert (run.created_at, run.started_at, run.ended_at) == (
        NOW,
        NOW + timedelta(seconds=2),
        NOW + timedelta(seconds=7),
    )


def test_a_resumed_workflow_keeps_its_start() -> None:
    run = advance(None, wire("workflow_execution_started", NOW))
    run = advance(run, wire("workflow_execution_paused"))
    assert advance(run, wire("workflow_execution_resumed")).started_at == NOW


def test_a_duration_is_never_negative() -> None:
    assert Run("p", Family.TASK, "r", started_at=LATER, ended_at=NOW).duration == 0


def test_a_new_attempt_keeps_the_name_and_nothing_else() -> None:
    first = advance(None, event("task_started", task="Analyse"))
    first = advance(first, event("output", output="old"))
    first = advance(first, event("task_failed", at=1))
    second = advance(first, event("task_started", at=2))
    assert (second.attempt, second.name, second.output_tail, second.ended_at) == (2, "Analyse", "", None)
    assert second.thread == "p/task/t1/2"
    assert second.created_at == NOW + timedelta(seconds=2)


def test_the_same_end_twice_is_a_repetition_at_any_time() -> None:
    ended = advance(None, event("task_failed", error="a"))
    assert advance(ended, event("task_failed", at=99, error="b")) is ended


@pytest.mark.parametrize("kind", ["connection_connected", "agent_started"])
def test_events_about_no_run(kind: str) -> None:
    changed = EVENT_TYPES[kind](timestamp=datetime.now(UTC), project_id="p")
    assert run_ref(changed) is None
    with pytest.raises(ValueError, match="about no run"):
        advance(None, changed)


def test_the_tail_keeps_lines_and_characters_within_bounds() -> None:
    assert tail("".join(f"{n}\n" for n in range(50))) == "".join(f"{n}\n" for n in range(30, 50))
    assert tail("x" * 9000) == "x" * OUTPUT_TAIL_CHARACTERS
    assert tail("") == ""


@given(st.lists(st.sampled_from(RUN_TYPES), max_size=30))
def test_attempts_grow_by_one_and_an_end_is_final_within_one(kinds: list[str]) -> None:
    latest: Run | None = None
    for step, kind in enumerate(kind for kind in kinds if EVENT_TYPES[kind].family is Family.TASK):
        before, latest = latest, advance(latest, wire(kind, NOW + timedelta(seconds=step)))
        if before is None:
            assert latest.attempt == 1
        elif latest.attempt != before.attempt:
            assert latest.attempt == before.attempt + 1
            assert before.state in TERMINAL_STATES
        elif before.state in TERMINAL_STATES:
            assert latest.state in TERMINAL_STATES
        assert len(latest.output_tail.splitlines()) <= OUTPUT_TAIL_LINES


pieces = st.one_of(
    st.text(alphabet="ab\n", max_size=8),
    st.builds(lambda count: "line\n" * count, st.integers(0, 30)),
    st.builds(lambda count: "x" * count, st.integers(0, 3000)),
)
progress_events = st.one_of(
    st.builds(lambda text, at: event("output", at=at, output=text), pieces, st.integers(0, 60)),
    st.builds(
        lambda step, percent, at: event("step_progress", at=at, step=step, progress=percent),
        st.sampled_from(["", "load", "train", None]),
        st.one_of(st.none(), st.integers(0, 100)),
        st.integers(0, 60),
    ),
)


@given(st.lists(progress_events, min_size=1, max_size=12), st.sampled_from([None, *RunState]))
def test_absorbing_is_advancing_one_by_one(events: list[Event], state: RunState | None) -> None:
    latest = None if state is None else Run("p", Family.TASK, "t1", state=state, name="t1", output_tail="before\n")
    one_by_one = reduce(lambda run, one: advance(run, one), events, latest)
    assert apply_progress(latest, events) == one_by_one


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "attempt": st.integers(1, 9),
            "state": st.sampled_from(RunState),
            "name": st.text(),
            "workflow_id": st.none() | st.text(),
            "started_at": st.none() | st.datetimes(timezones=st.just(UTC)),
            "progress": st.none() | st.floats(0, 100),
            "output_tail": st.text(),
        },
    )
)
def test_a_changed_run_equals_the_result_of_replace(changes: dict[str, Any]) -> None:
    run = Run("p1", Family.TASK, "t1", name="Nightly", step="Load", updated_at=datetime(2026, 3, 1, tzinfo=UTC))
    assert runs._replace(run, changes) == replace(run, **changes)
    assert run.name == "Nightly"


def test_a_long_name_of_a_run_is_truncated() -> None:
    run = advance(None, event("task_started", "t", task="x" * 100_000))
    run = apply_progress(run, [event("step_progress", "t", step="y" * 100_000)])
    assert (len(run.name), len(run.step or "")) == (MAX_NAME_CHARACTERS, MAX_NAME_CHARACTERS)
