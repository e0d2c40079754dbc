"""The plan for a batch of events, as values."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain.events import (
    AgentStartedEvent,
    ConnectionConnectedEvent,
    ConnectionDisconnectedEvent,
    Event,
)
from aintandem_notify.domain.runs import Run, RunRef, advance
from aintandem_notify.ingest.plan import Plan, Submission, plan, unrouted_progress
from aintandem_notify.rules import Router
from support.outbox import NO_EVENTS, NOW, PROJECT, event, router

NOBODY = router(events=NO_EVENTS)
EVERYBODY = router()


def planned(
    *events: Event,
    rules: Router = EVERYBODY,
    runs: Mapping[RunRef, Run] | None = None,
    known: Set[str] = frozenset(),
    watched: Set[str] = frozenset(),
    now: datetime = NOW + timedelta(hours=1),
) -> Plan:
    batch = [Submission(PROJECT, events)]
    return plan(batch, router=rules, runs=runs or {}, known=known, projects=watched, now=now)


def types(events: Sequence[Event]) -> list[str]:
    return [one.type for one in events]


def test_an_event_that_matches_is_journaled_and_sent() -> None:
    done = planned(event("task_started"), rules=router("a", "b"))
    ((sent, destinations),) = done.changes.notifications
    assert (sent.title, destinations) == ("task_started t1", ("a", "b"))
    assert sent.run == done.changes.new_runs[0]
    assert types(done.changes.events) == ["task_started"]
    assert done.due_destinations == {"a", "b"}


def test_an_event_without_a_rule_is_only_journaled() -> None:
    done = planned(event("task_started"), rules=NOBODY)
    assert types(done.changes.events) == ["task_started"]
    assert done.changes.notifications == []
    assert len(done.changes.new_runs) == 1


def test_unrouted_progress_changes_its_run_once() -> None:
    lines = [event("output", at=n, output=f"{n}\n") for n in range(3)]
    done = planned(*lines, event("step_progress", at=4, step="load"), rules=NOBODY)
    assert done.changes.events == []
    (run,) = done.changes.new_runs
    assert (run.output_tail, run.step) == ("0\n1\n2\n", "load")
    assert [one for one, _ in done.new_events] == [*lines, done.new_events[3][0]]


def test_progress_that_a_rule_lets_pass_but_refuses_is_not_journaled() -> None:
    rules = router(when="event.type != 'output'")
    done = planned(event("output", output="a"), event("step_progress"), rules=rules)
    assert types(done.changes.events) == ["step_progress"]
    assert done.changes.new_runs[0].output_tail == "a"


def test_a_run_is_up_to_date_when_its_end_is_reported() -> None:
    rules = router(events="task_failed")
    done = planned(event("output", output="last words"), event("task_failed"), rules=rules)
    ((sent, _),) = done.changes.notifications
    assert sent.run is not None
    assert sent.run.output_tail == "last words"


def test_known_and_repeated_events() -> None:
    ended = event("task_completed")
    assert planned(ended, known={ended.key}).new_events == []
    assert len(planned(ended, ended).changes.notifications) == 1
    later = planned(ended, event("task_completed", at=9))
    assert types(later.changes.events) == ["task_completed", "task_completed"]
    assert len(later.changes.notifications) == 1


def test_a_run_that_is_stored_moves_and_a_new_attempt_is_new() -> None:
    stored = advance(None, event("task_started"))
    done = planned(event("task_failed"), event("task_started", at=1), runs={stored.ref: stored})
    assert [(run.attempt, run.state) for run in done.changes.updated_runs] == [(1, "failed")]
    assert [(run.attempt, run.state) for run in done.changes.new_runs] == [(2, "running")]
    assert done.runs[stored.ref].attempt == 2


def test_events_about_no_run_are_notified_too() -> None:
    agent = AgentStartedEvent(timestamp=NOW)
    link = ConnectionDisconnectedEvent(timestamp=NOW, project_id="p")
    done = planned(agent, link, event("brand_new_type"))
    assert [sent.run for sent, _ in done.changes.notifications] == [None, None, None]
    assert done.changes.new_runs == []


def test_events_do_not_say_how_far_a_project_is_seen() -> None:
    """An event may arrive before the missed ones are caught up."""
    changes = planned(event("task_started", at=10), watched={"p"}).changes
    assert (changes.new_projects, changes.seen_until) == ({}, {})


def test_a_first_connection_begins_the_watch_and_a_later_one_closes_no_gap() -> None:
    connected = ConnectionConnectedEvent(timestamp=NOW, project_id="p")
    assert planned(connected).changes.new_projects == {"p": NOW}
    later = planned(connected, watched={"p"}).changes
    assert (later.new_projects, later.seen_until) == ({}, {})


def test_a_clock_that_was_set_ahead_does_not_put_the_beginning_off() -> None:
    connected = ConnectionConnectedEvent(timestamp=NOW + timedelta(days=365), project_id="p")
    done = plan(
        [Submission(PROJECT, [connected])],
        router=EVERYBODY,
        runs={},
        known=set(),
        projects=set(),
        now=NOW + timedelta(days=365),
        watched_from=NOW,
    )
    assert done.changes.new_projects == {"p": NOW}


def test_agent_events_are_no_projects() -> None:
    changes = planned(AgentStartedEvent(timestamp=NOW)).changes
    assert (changes.new_projects, changes.seen_until) == ({}, {})


def test_unrouted_progress() -> None:
    assert unrouted_progress(NOBODY) == {"output", "step_progress"}
    assert unrouted_progress(EVERYBODY) == set()


some_events = st.lists(
    st.builds(
        event,
        st.sampled_from(["task_started", "output", "step_progress", "task_completed", "task_failed"]),
        run=st.sampled_from(["t1", "t2"]),
        at=st.integers(0, 3),
    ),
    max_size=15,
)


@given(some_events, st.integers(0, 15), st.booleans())
def test_how_events_are_cut_into_batches_changes_nothing(events: list[Event], cut: int, is_routed: bool) -> None:
    """Two batches, the second planned after the first, have the same effect as one."""
    rules = EVERYBODY if is_routed else NOBODY
    whole = planned(*events, rules=rules)
    first = planned(*events[:cut], rules=rules)
    known = {one.key for one in first.changes.events}
    second = planned(*events[cut:], rules=rules, runs=first.runs, known=known)
    assert first.runs | second.runs == whole.runs
    assert first.changes.events + second.changes.events == whole.changes.events
    assert [sent.id for part in (first, second) for sent, _ in part.changes.notifications] == [
        sent.id for sent, _ in whole.changes.notifications
    ]
