"""Rows that pruning deletes and rows that stay. Every database must pass these tests."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, text

from aintandem_notify.domain.runs import TERMINAL_STATES, RunState
from aintandem_notify.store import PRUNE_STEPS, DeliveryState, GateRow, PruneLimits, Store
from aintandem_notify.store.engine import schema
from support.outbox import NOW, new_store
from support.stores import any_store, store_url

__all__ = ["any_store", "store_url"]

KEEP = timedelta(days=30)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MOST = 3
LIMITS = PruneLimits(NOW, KEEP, MOST)
AGES = st.sampled_from([0 * DAY, HOUR / 2, 2 * HOUR, 2 * DAY, KEEP - HOUR, KEEP + HOUR, 3 * KEEP])
SETTLED = st.sampled_from([state for state in DeliveryState if state is not DeliveryState.QUEUED])


@pytest.fixture
def store(any_store: str) -> Store:
    return new_store()


def add(store: Store, table: Any, **values: Any) -> None:
    store._connection.execute(insert(table).values(values))


def add_event(store: Store, key: str, age: timedelta, kind: str = "task_failed") -> None:
    moment = NOW - age
    add(
        store,
        schema.events,
        key=key,
        project_id="p",
        type=kind,
        family="task",
        run_id="t1",
        occurred_at=moment,
        received_at=moment,
        caught_up=False,
        wire="{}",
    )


def add_notification(store: Store, name: str, event: str, age: timedelta) -> None:
    add(store, schema.notifications, id=name, event_key=event, rule="all", created_at=NOW - age, content="{}")


def add_delivery(store: Store, name: str, to: str, age: timedelta, state: DeliveryState, ended: timedelta) -> None:
    add(
        store,
        schema.deliveries,
        notification_id=name,
        destination=to,
        thread="p/task/t1/1",
        state=state.value,
        due_at=NOW - age,
        attempts=0,
        fault_count=0,
        created_at=NOW - age,
        settled_at=None if state is DeliveryState.QUEUED else NOW - ended,
    )


def add_run(store: Store, run: str, attempt: int, state: RunState, age: timedelta | None, tail: str = "") -> None:
    ended = state in TERMINAL_STATES and age is not None
    moment = None if age is None else NOW - age
    add(
        store,
        schema.runs,
        project_id="p",
        kind="task",
        id=run,
        attempt=attempt,
        state=state.value,
        name=run,
        ended_at=moment if ended else None,
        updated_at=moment,
        output_tail=tail,
    )


def see(store: Store, project: str, age: timedelta) -> None:
    add(store, schema.projects, id=project, seen_until=NOW - age)


def prune(store: Store, configured: tuple[str, ...] = ()) -> int:
    """Runs a whole round. Returns the number of steps; each deletes no more rows than its limit."""
    steps = 0
    for walk in PRUNE_STEPS.values():
        after: Any = None
        while True:
            with store.transaction():
                page = walk(store.retention, LIMITS, after)
            steps += 1
            assert page.removed <= MOST
            assert steps < 1000
            if (after := page.after) is None:
                break
    with store.transaction():
        store.retention.prune_gates(LIMITS, configured)
    return steps


def left(store: Store, column: Any) -> set[Any]:
    with store.transaction():
        return set(store._connection.execute(select(column)).scalars())


def test_old_ended_deliveries_are_deleted_with_the_rows_that_only_they_needed(store: Store) -> None:
    with store.transaction():
        for n in range(10):
            age = 40 * DAY if n < 7 else 10 * DAY
            add_event(store, f"e{n}", age)
            add_notification(store, f"n{n}", f"e{n}", age)
            add_delivery(store, f"n{n}", "slack.a", age, DeliveryState.DELIVERED, age)
    assert prune(store) >= 3
    assert left(store, schema.deliveries.c.notification_id) == {"n7", "n8", "n9"}
    assert left(store, schema.notifications.c.id) == {"n7", "n8", "n9"}
    assert left(store, schema.events.c.key) == {"e7", "e8", "e9"}


def test_rows_that_an_open_delivery_needs_stay(store: Store) -> None:
    with store.transaction():
        add_event(store, "e", 90 * DAY, "output")
        for rule in ("n1", "n2"):
            add_notification(store, rule, "e", 90 * DAY)
            add_delivery(store, rule, "slack.a", 90 * DAY, DeliveryState.DEAD, 80 * DAY)
        add_delivery(store, "n1", "slack.b", 90 * DAY, DeliveryState.QUEUED, 0 * DAY)
        for thread in ("p/task/t1/1", "p/task/t2/1"):
            for to in ("slack.a", "slack.b"):
                add(store, schema.receipts, destination=to, thread=thread, receipt="{}", updated_at=NOW - 90 * DAY)
        add(store, schema.receipts, destination="slack.c", thread="p", receipt="{}", updated_at=NOW - DAY)
        for to in ("slack.a", "slack.b", "slack.c"):
            store.gates.write(to, GateRow("open", 0, NOW - 90 * DAY))
        store.gates.write("slack.d", GateRow("open", 0, NOW - DAY))
    prune(store, configured=("slack.c",))
    assert left(store, schema.deliveries.c.destination) == {"slack.b"}
    assert left(store, schema.notifications.c.id) == {"n1"}
    assert left(store, schema.events.c.key) == {"e"}
    assert left(store, schema.receipts.c.destination) == {"slack.b", "slack.c"}
    assert left(store, schema.gates.c.destination) == {"slack.b", "slack.c", "slack.d"}
    with store.transaction():
        store._connection.execute(delete(schema.deliveries))
    prune(store)
    assert left(store, schema.events.c.key) == set()
    assert left(store, schema.gates.c.destination) == {"slack.d"}


def test_output_is_kept_for_an_hour_after_its_deliveries(store: Store) -> None:
    with store.transaction():
        for n in range(12):
            age = 2 * HOUR if n % 2 else HOUR / 2
            add_event(store, f"e{n}", age, "output")
            add_notification(store, f"n{n}", f"e{n}", age)
            state = DeliveryState.QUEUED if n in (1, 2) else DeliveryState.DELIVERED
            add_delivery(store, f"n{n}", "file_log.a", age, state, age)
        add_event(store, "other", 2 * HOUR)
    prune(store)
    remaining = {0, 1, 2, 4, 6, 8, 10}
    assert left(store, schema.events.c.key) == {f"e{n}" for n in remaining} | {"other"}
    assert left(store, schema.notifications.c.id) == {f"n{n}" for n in remaining}
    assert left(store, schema.deliveries.c.notification_id) == {f"n{n}" for n in remaining}


@pytest.mark.parametrize(
    ("seen_until", "stays"),
    [(DAY, set()), (KEEP + DAY, set()), (KEEP + 40 * DAY, {"t1"}), (40 * DAY - HOUR / 2, {"t1"})],
)
def test_a_run_that_rest_may_still_list_is_deleted_only_once_it_counts_as_old(
    store: Store, seen_until: timedelta, stays: set[str]
) -> None:
    with store.transaction():
        see(store, "p", seen_until)
        add_run(store, "t1", 1, RunState.FAILED, 40 * DAY)
    prune(store)
    assert left(store, schema.runs.c.id) == stays


def test_an_open_run_keeps_all_its_attempts_and_an_ended_one_loses_its_output_first(store: Store) -> None:
    with store.transaction():
        see(store, "p", HOUR)
        add_run(store, "open", 1, RunState.FAILED, 90 * DAY)
        add_run(store, "open", 2, RunState.RUNNING, 80 * DAY, tail="last words")
        add_run(store, "over", 1, RunState.FAILED, 90 * DAY)
        add_run(store, "over", 2, RunState.COMPLETED, 80 * DAY)
        add_run(store, "again", 1, RunState.FAILED, 90 * DAY)
        add_run(store, "again", 2, RunState.FAILED, 2 * DAY, tail="last words")
        add_run(store, "fresh", 1, RunState.CANCELLED, 2 * HOUR, tail="last words")
        add_run(store, "timeless", 1, RunState.FAILED, None)
    prune(store)
    runs = schema.runs.c
    with store.transaction():
        rows = store._connection.execute(select(runs.id, runs.attempt, runs.output_tail)).all()
    assert {tuple(row) for row in rows} == {
        ("open", 1, ""),
        ("open", 2, "last words"),
        ("again", 1, ""),
        ("again", 2, ""),
        ("fresh", 1, "last words"),
        ("timeless", 1, ""),
    }


def test_agents_that_share_a_store_take_turns(store: Store, any_store: str) -> None:
    if "postgresql" not in any_store:
        with store.transaction():
            assert store.retention.try_prune_lock()
        return
    other = Store(any_store)
    try:
        with store.transaction():
            assert store.retention.try_prune_lock()
            with other.transaction():
                assert not other.retention.try_prune_lock()
        with other.transaction():
            assert other.retention.try_prune_lock()
    finally:
        other.close()


@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(["output", "task_failed"]),
            AGES,
            st.lists(st.lists(st.one_of(st.none(), st.tuples(SETTLED, AGES)), max_size=2), max_size=2),
        ),
        max_size=8,
    ),
    runs=st.lists(st.lists(st.tuples(st.sampled_from(RunState), AGES), min_size=1, max_size=3), max_size=5),
    seen_until=AGES,
)
def test_open_and_recent_rows_are_never_deleted(events: Any, runs: Any, seen_until: timedelta) -> None:
    store = Store("sqlite://")
    open_names, young_names, old_names, open_events = set(), set(), set(), set()
    with store.transaction():
        see(store, "p", seen_until)
        for number, (kind, age, notifications) in enumerate(events):
            key = f"e{number}"
            add_event(store, key, age, kind)
            for rule, deliveries in enumerate(notifications):
                name = f"{key}-{rule}"
                add_notification(store, name, key, age)
                for place, ended in enumerate(deliveries):
                    state, settled = ended or (DeliveryState.QUEUED, age)
                    add_delivery(store, name, f"to{place}", age, state, min(settled, age))
                    whole = (name, f"to{place}")
                    if ended is None:
                        open_names.add(whole)
                        open_events.add(key)
                    elif min(settled, age) < KEEP and kind != "output":
                        young_names.add(whole)
                    elif min(settled, age) > KEEP:
                        old_names.add(whole)
        for number, attempts in enumerate(runs):
            for attempt, (state, age) in enumerate(attempts, 1):
                add_run(store, f"t{number}", attempt, state, age)
    prune(store)
    with store.transaction():
        rows = store._connection.execute(text("SELECT notification_id, destination FROM deliveries")).all()
        result = {tuple(row) for row in rows}
    assert open_names | young_names <= result
    assert not old_names & result
    needed = left(store, schema.notifications.c.id)
    assert {name for name, _ in result} <= needed
    keys = left(store, schema.events.c.key)
    assert left(store, schema.notifications.c.event_key) <= keys
    assert open_events <= keys
    for number, (kind, age, _) in enumerate(events):
        if kind != "output" and age < KEEP:
            assert f"e{number}" in keys
        if age > HOUR and kind == "output" and f"e{number}" not in open_events:
            assert f"e{number}" not in keys
    there = left(store, schema.runs.c.id)
    for number, attempts in enumerate(runs):
        if any(state not in TERMINAL_STATES or age < KEEP for state, age in attempts):
            assert f"t{number}" in there
        elif all(age - seen_until > HOUR for _, age in attempts):
            assert f"t{number}" not in there
    store.close()
