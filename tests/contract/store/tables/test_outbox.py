"""Claims and settlements of deliveries. Every database must pass these tests."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from aintandem_notify.domain.events import (
    EVENT_TYPES,
    AgentStartedEvent,
    ConnectionErrorEvent,
    Event,
    Family,
)
from aintandem_notify.domain.notification import Field
from aintandem_notify.domain.runs import Run, RunRef, RunState
from aintandem_notify.domain.samples import sample_notification
from aintandem_notify.store import Claim, DeliveryState, JournalChanges, Settlement, Store
from aintandem_notify.store.tables import outbox
from aintandem_notify.store.tables.notification_cache import NotificationCache
from support.outbox import NOW, claim_all, event, inside, new_store, notification, queue_up

pytestmark = pytest.mark.usefixtures("any_store")

QUEUED, DELIVERED, DEAD = DeliveryState.QUEUED, DeliveryState.DELIVERED, DeliveryState.DEAD
HERE = "file_log.a"


@pytest.fixture(params=["from memory", "read back"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store that claims notifications from its cache, and one that reads them back, as after a restart."""
    opened = new_store(recent=NotificationCache(max_notifications=1000 if request.param == "from memory" else 0))
    yield opened
    opened.close()


def settle(store: Store, claim: Claim, state: DeliveryState = DELIVERED, due: float = 0, **fields: Any) -> None:
    ended = Settlement(claim, state, NOW, NOW + timedelta(seconds=due), **fields)
    inside(lambda store: store.outbox.settle([ended]))(store)


def claimed(store: Store, **options: Any) -> list[str]:
    return [claim.notification.title for claim in claim_all(**options)(store)]


def rows(store: Store, columns: str = "state, attempts, fault, fault_count, reason, settled_at") -> list[Any]:
    with store.transaction():
        result = store._connection.execute(text(f"SELECT {columns} FROM deliveries ORDER BY id")).all()
    return [tuple(row) for row in result]


def test_deliveries_come_in_the_order_of_their_events(store: Store) -> None:
    queue_up([event("task_started", run=f"t{n}") for n in range(9, 0, -1)])(store)
    assert claimed(store) == [f"task_started t{n}" for n in range(9, 0, -1)]
    assert claimed(store, limit=2) == ["task_started t9", "task_started t8"]
    assert claimed(store, destination="slack.b") == []


def test_a_notification_is_stored_as_pydantic_writes_it(store: Store) -> None:
    """So that stores of earlier and later versions hold the same."""
    samples = [sample_notification(kind) for kind in EVENT_TYPES]
    samples.append(
        sample_notification(
            "task_failed",
            error="x",
            fields=(Field("<&>", '"\\\x7f\u2028\U0001f600'),),
            mentions=("here",),
            url="https://console.example/é",
            created_at=datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2))),
        )
    )
    changes = JournalChanges(
        events=[sample.event for sample in samples], notifications=[(sample, [HERE]) for sample in samples]
    )
    inside(lambda store: store.journal.write(changes, NOW))(store)
    with store.transaction():
        stored = store._connection.execute(text("SELECT id, content FROM notifications")).all()
    assert {row.id: row.content for row in stored} == {
        sample.id: sample.model_dump_json(exclude={"event", "previous", "plain", "instead_of"})[:-1]
        + f',"secrets":"{changes.secrets}"}}'
        for sample in samples
    }


def test_a_claim_is_only_a_read(store: Store) -> None:
    queue_up([event("task_started")])(store)
    assert claim_all()(store) == claim_all()(store)


@pytest.mark.parametrize(
    "about",
    [
        event("task_failed", error="<&>\u2028 \U0001f600", extra={"deep": [1, None, 2.5]}),
        event("brand_new_type", anything=True),
        ConnectionErrorEvent(timestamp=NOW, project_id="p", error="refused"),
        AgentStartedEvent(timestamp=NOW, version="1.0"),
    ],
)
def test_a_notification_comes_back_as_it_was(store: Store, about: Event) -> None:
    queue_up([about])(store)
    (claim,) = claim_all()(store)
    assert claim.notification.event == about
    assert type(claim.notification.event) is type(about)
    assert claim.notification.event.wire() == about.wire()
    assert claim.notification.event.key == about.key
    assert claim.notification.previous is None
    assert claim.notification.created_at == NOW
    assert claim.notification.created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("state", "expected_titles"), [(QUEUED, ["task_started t1"]), (DELIVERED, []), (DEAD, [])]
)
def test_only_queued_deliveries_are_claimed(
    store: Store, state: DeliveryState, expected_titles: list[str]
) -> None:
    queue_up([event("task_started")])(store)
    (claim,) = claim_all()(store)
    settle(store, claim, state, attempts=2, fault="builtins.KeyError", fault_count=1, reason="why")
    assert claimed(store) == expected_titles
    (row,) = rows(store)
    assert row[:5] == (state.value, 2, "builtins.KeyError", 1, "why")
    assert (row[5] is None) == (state is QUEUED)


def test_a_claim_has_the_results_of_earlier_attempts(store: Store) -> None:
    queue_up([event("task_started")])(store)
    (claim,) = claim_all()(store)
    settle(store, claim, QUEUED, attempts=2, fault="builtins.KeyError", fault_count=1)
    (again,) = claim_all()(store)
    assert (again.attempts, again.fault, again.fault_count) == (2, "builtins.KeyError", 1)
    assert (again.id, again.created_at, again.destination) == (claim.id, NOW, HERE)


def test_a_waiting_delivery_blocks_its_thread_at_its_destination_only(store: Store) -> None:
    events = [
        event("task_started", run="a"),
        event("artifact", run="a", artifact={"path": "x"}),
        event("task_started", run="b"),
    ]
    queue_up(events, [HERE, "slack.b"])(store)
    settle(store, claim_all()(store)[0], QUEUED, due=5)
    assert claimed(store) == ["task_started b"]
    assert claimed(store, destination="slack.b") == ["task_started a", "artifact a", "task_started b"]
    after = NOW + timedelta(seconds=5)
    assert claimed(store, now=after) == ["task_started a", "artifact a", "task_started b"]


def test_a_later_waiting_delivery_blocks_nothing(store: Store) -> None:
    queue_up([event("task_started"), event("artifact", artifact={"path": "x"})])(store)
    settle(store, claim_all()(store)[1], QUEUED, due=5)
    assert claimed(store) == ["task_started t1"]


def test_a_due_time_beyond_the_horizon_is_due(store: Store) -> None:
    queue_up([event("task_started"), event("artifact", artifact={"path": "x"})])(store)
    settle(store, claim_all()(store)[0], QUEUED, due=3600)
    assert claimed(store, horizon=60) == ["task_started t1", "artifact t1"]
    assert claimed(store, horizon=7200) == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE notifications SET content = '{' WHERE content LIKE '%task_started b%'",
        "UPDATE notifications SET content = '{}' WHERE content LIKE '%task_started b%'",
        "UPDATE events SET wire = '{' WHERE run_id = 'b'",
        "UPDATE events SET wire = '{}' WHERE run_id = 'b'",
    ],
)
def test_an_unreadable_delivery_is_marked_dead_and_blocks_nothing(damage: str) -> None:
    store = new_store(recent=NotificationCache(max_notifications=0))
    queue_up([event("task_started", run=run) for run in "abc"])(store)
    with store.transaction():
        assert store._connection.execute(text(damage)).rowcount == 1
    assert claimed(store) == ["task_started a", "task_started c"]
    assert rows(store, "state, reason")[1] == ("dead", "cannot be read back from the store")
    store.close()


def cached(recent: NotificationCache, destination: str, about: Sequence[Event]) -> list[bool]:
    """For each event, whether the notification that ``queue_up`` made of it is cached."""
    return [recent.get(destination, notification(cached_event, None).id) is not None for cached_event in about]


def test_notifications_beyond_the_limit_of_the_cache_are_read_from_the_disk(tmp_path: Path) -> None:
    recent = NotificationCache(max_notifications=2)
    store = Store(tmp_path / "store.sqlite3", notification_cache=recent)
    about = [event("task_started", run=run) for run in "abcd"]
    queue_up(about, [HERE, "slack.b"])(store)
    assert cached(recent, HERE, about) == [True, True, False, False]
    claims = claim_all()(store)
    assert [claim.notification.title for claim in claims] == [f"task_started {run}" for run in "abcd"]
    settle(store, claims[0])
    settle(store, claims[1], QUEUED)
    assert cached(recent, HERE, about) == [False, True, False, False]
    assert cached(recent, "slack.b", about) == [True, True, False, False]
    store.close()
    reopened = Store(tmp_path / "store.sqlite3")
    assert claim_all()(reopened) == claims[1:]
    reopened.close()


def test_large_notifications_do_not_fill_the_cache() -> None:
    recent = NotificationCache(max_characters=7_000)
    store = new_store(recent=recent)
    about = [
        event("task_failed", run=run, error=run * size) for run, size in (("a", 50_000), ("b", 5), ("c", 3000))
    ]
    queue_up(about)(store)
    assert cached(recent, HERE, about) == [False, True, False]
    settle(store, claim_all()(store)[1])
    later = event("task_failed", run="d", error="d" * 3000)
    queue_up([later])(store)
    assert cached(recent, HERE, [later]) == [True]
    assert claimed(store) == ["task_failed a", "task_failed c", "task_failed d"]
    store.close()


def test_the_cache_contains_nothing_uncommitted() -> None:
    recent = NotificationCache()
    store = new_store(recent=recent)
    about = [event("task_started", run=run) for run in "ab"]
    queue_up(about[:1])(store)

    def write_and_fail(store: Store) -> None:
        store.journal.write(
            JournalChanges(events=about[1:], notifications=[(notification(about[1], None), [HERE])]), NOW
        )
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        inside(write_and_fail)(store)
    assert cached(recent, HERE, about) == [False, False]
    assert claimed(store) == ["task_started a"]
    store.close()


def test_the_cache_drops_expired_notifications() -> None:
    recent = NotificationCache()
    store = new_store(recent=recent)
    about = [event("task_started")]
    queue_up(about)(store)
    with store.transaction():
        later = NOW + timedelta(days=3)
        assert store.backlog.expire(HERE, older_than=later, now=later, reason="too old") == 1
    assert cached(recent, HERE, about) == [False]
    store.close()


def next_due(store: Store, destination: str = HERE) -> Any:
    horizon = NOW + timedelta(seconds=60)
    return inside(lambda store: store.outbox.next_due(destination, now=NOW, horizon=horizon))(store)


def test_the_next_due_time(store: Store) -> None:
    queue_up([event("task_started", run=f"t{n}") for n in range(3)])(store)
    first, second, third = claim_all()(store)
    assert next_due(store) is None
    settle(store, first, QUEUED, due=30)
    settle(store, second, QUEUED, due=20)
    settle(store, third, QUEUED, due=3600)
    assert next_due(store) == NOW + timedelta(seconds=20)
    assert next_due(store, "slack.b") is None


def test_receipts_are_kept_per_destination_and_thread(store: Store) -> None:
    queue_up([event("task_started"), event("task_started", run="other")], [HERE, "slack.b"])(store)
    settle(store, claim_all()(store)[0], receipt={"ts": "1"})
    queue_up([event("task_failed")], [HERE, "slack.b"])(store)
    assert [claim.notification.previous for claim in claim_all()(store)] == [None, {"ts": "1"}]
    assert [claim.notification.previous for claim in claim_all("slack.b")(store)] == [None, None, None]
    settle(store, claim_all()(store)[1], receipt={"ts": "2", "é": [None, {"a": 1.5}]})
    queue_up([event("artifact", artifact={"path": "x"})])(store)
    assert claim_all()(store)[1].notification.previous == {"ts": "2", "é": [None, {"a": 1.5}]}


def test_no_receipt_leaves_the_last_one(store: Store) -> None:
    queue_up([event("task_started"), event("task_failed"), event("artifact", artifact={"path": "x"})])(store)
    settle(store, claim_all()(store)[0], receipt={"ts": "1"})
    settle(store, claim_all()(store)[0], receipt=None)
    assert claim_all()(store)[0].notification.previous == {"ts": "1"}


def expire(store: Store, older_than: float, **options: Any) -> int:
    return inside(
        lambda store: store.backlog.expire(
            HERE,
            older_than=NOW + timedelta(seconds=older_than),
            now=NOW,
            reason="waited longer than 1h",
            **options,
        )
    )(store)


def test_old_deliveries_expire_with_a_reason_and_others_stay(store: Store) -> None:
    queue_up([event("task_started", run="a"), event("task_started", run="b")])(store)
    queue_up([event("task_started", run="c")], now=NOW + timedelta(seconds=10))(store)
    queue_up([event("task_started", run="d")], ["slack.b"])(store)
    spared = claim_all()(store)[1]
    assert expire(store, 0) == 0
    assert expire(store, 5, exclude_ids=[spared.id]) == 1
    assert claimed(store, now=NOW + timedelta(seconds=10)) == ["task_started b", "task_started c"]
    assert claimed(store, destination="slack.b") == ["task_started d"]
    assert rows(store, "state, reason")[0] == ("dead", "waited longer than 1h")
    assert expire(store, 5) == 1


def test_queues_count_waiting_deliveries(store: Store) -> None:
    queue_up([event("task_started", run="a")], [HERE, "slack.b"], now=NOW - timedelta(hours=1))(store)
    queue_up([event("task_started", run="b")])(store)
    settle(store, claim_all("slack.b")(store)[0])
    queues = inside(lambda store: store.outbox.queues())(store)
    assert {name: (queue.queued, queue.oldest) for name, queue in queues.items()} == {
        HERE: (2, NOW - timedelta(hours=1))
    }


def test_runs_are_found_by_their_latest_attempt(store: Store) -> None:
    ref = RunRef("p", Family.TASK, "it's/'a'")
    first = Run(*ref, state=RunState.FAILED, name="é", started_at=NOW, progress=12.5, output_tail="a\n")
    second = Run(*ref, attempt=2, workflow_id="w", created_at=NOW, updated_at=NOW, step="load")
    other = Run("q", Family.TASK, ref.id, attempt=7)
    changes = JournalChanges(new_runs=[first, second, other])
    inside(lambda store: store.journal.write(changes, NOW))(store)
    latest = inside(lambda store: store.journal.latest_runs([ref, other.ref, RunRef("p", Family.SANDBOX, ref.id)]))
    assert latest(store) == {ref: second, other.ref: other}
    moved = Run(*ref, attempt=2, state=RunState.COMPLETED, name="new", ended_at=NOW)
    inside(lambda store: store.journal.write(JournalChanges(updated_runs=[moved]), NOW))(store)
    assert latest(store) == {ref: moved, other.ref: other}


def test_more_keys_and_runs_than_one_query_allows(store: Store) -> None:
    events = [event("task_started", run=f"t{n}") for n in range(1201)]
    queue_up(events)(store)
    keys = {sample.key for sample in events}
    assert inside(lambda store: store.journal.journaled_keys([*events, event("task_failed")]))(store) == keys
    refs = [RunRef("p", Family.TASK, f"t{n}") for n in range(1300)]
    assert len(inside(lambda store: store.journal.latest_runs(refs))(store)) == 1201


def test_the_claim_of_a_long_queue_reads_no_more_than_it_takes() -> None:
    """The query scans no table and sorts nothing, since the index has the order."""
    with closing(Store("sqlite://")) as store, store.transaction():
        compiled = outbox.DUE_DELIVERIES.compile(store._connection)
        values = tuple(0 for _ in compiled.positiontup or ())
        plan = store._connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values).all()
    steps = [row[3] for row in plan]
    assert "SEARCH deliveries USING INDEX deliveries_next (destination=? AND state=?)" in steps
    assert not [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step]
