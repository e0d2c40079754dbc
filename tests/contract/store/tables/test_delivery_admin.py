"""Finding, paging, retrying and dropping deliveries by hand, on every database."""

import re
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from aintandem_notify.store import Claim, DeliveryFilter, DeliveryState, GivenUp, Settlement, Store
from aintandem_notify.store.engine import schema
from aintandem_notify.store.tables import delivery_admin
from aintandem_notify.store.tables.delivery_admin import DROPPED, DeliveryScan
from support.outbox import NOW, claim_all, event, inside, new_store, queue_up

A, B = "file_log.a", "slack.b"
SOON = NOW + timedelta(seconds=30)
"""A time at which all queued deliveries are due."""
ALL = DeliveryFilter()


def queued(store: Store, count: int = 3, destinations: tuple[str, ...] = (A,)) -> list[int]:
    """Queues ``count`` notifications, one second apart. Returns the ids of all deliveries in order."""
    for number in range(count):
        moment = NOW + timedelta(seconds=number)
        queue_up([event("task_failed", f"t{number}", at=number)], destinations, moment)(store)
    return sorted(ids(store, ALL))


def ids(store: Store, criteria: DeliveryFilter, limit: int = 1000, before: int | None = None) -> list[int]:
    return inside(lambda opened: opened.delivery_queries.ids(criteria, limit=limit, before=before))(store)


def settle(
    store: Store, claim: Claim, state: DeliveryState, reason: str | None = None, at: datetime = NOW
) -> None:
    end = Settlement(claim, state, at, at, attempts=3, fault="builtins.OSError", fault_count=3, reason=reason)
    inside(lambda opened: opened.outbox.settle([end]))(store)


@pytest.mark.usefixtures("any_store")
def test_deliveries_are_found_by_destination_state_and_time() -> None:
    store = new_store()
    assert ids(store, ALL) == []
    first, second, third, fourth = queued(store, 2, (A, B))
    settle(store, claim_all(A, now=SOON)(store)[0], DeliveryState.DEAD, "refused")
    with store.transaction():
        assert store.delivery_queries.destinations() == [A, B]
    assert ids(store, ALL) == [fourth, third, second, first]
    assert ids(store, DeliveryFilter(destination=B)) == [fourth, second]
    assert ids(store, DeliveryFilter(destination="slack.nobody")) == []
    assert ids(store, DeliveryFilter(states=(DeliveryState.DEAD,))) == [first]
    assert ids(store, DeliveryFilter(states=(DeliveryState.DEAD, DeliveryState.QUEUED)), limit=2) == [
        fourth,
        third,
    ]
    assert ids(store, DeliveryFilter(since=NOW + timedelta(seconds=1))) == [fourth, third]
    assert ids(store, DeliveryFilter(until=NOW + timedelta(seconds=1))) == [second, first]
    assert ids(store, ALL, before=third) == [second, first]


@pytest.mark.usefixtures("any_store")
def test_the_newest_delivery_has_the_highest_id() -> None:
    store = new_store()
    newest = inside(lambda opened: opened.delivery_queries.newest_id())
    assert newest(store) == 0
    queued_ids = queued(store)
    assert newest(store) == queued_ids[-1]


def test_a_search_by_name_reads_a_bounded_number_and_goes_on() -> None:
    store = new_store()
    first, second, third = queued(store)

    def scan(task: str, limit: int = 5, before: int | None = None) -> DeliveryScan:
        wanted = DeliveryFilter(task=task)
        return inside(
            lambda opened: opened.delivery_queries.scan(wanted, limit=limit, before=before, max_scanned=2)
        )(store)

    assert scan("t0") == DeliveryScan([], second)
    assert scan("t0", before=second) == DeliveryScan([first], None)
    assert scan("t*", limit=1) == DeliveryScan([third], third)


@pytest.mark.usefixtures("any_store")
def test_a_delivery_without_its_notification_is_found_by_its_ids() -> None:
    store = new_store()
    *_, newest = queued(store)
    inside(lambda opened: opened._connection.execute(delete(schema.notifications)))(store)
    for criteria in (DeliveryFilter(task="t2"), DeliveryFilter(project="p", task="t2")):
        scan = inside(lambda opened, criteria=criteria: opened.delivery_queries.scan(criteria, limit=9))(store)  # type: ignore[misc]
        assert scan.ids == [newest]
    gone = inside(lambda opened: opened.delivery_queries.scan(DeliveryFilter(project="Sales"), limit=9))(store)
    assert gone.ids == []


@pytest.mark.usefixtures("any_store")
def test_a_row_has_its_notification_and_receipt() -> None:
    store = new_store()
    (delivery,) = queued(store, 1)
    claim = claim_all(A, now=SOON)(store)[0]
    end = Settlement(claim, DeliveryState.DELIVERED, NOW, NOW, receipt={"ts": "1.2"})
    inside(lambda opened: opened.outbox.settle([end]))(store)
    entry = inside(lambda opened: opened.delivery_queries.get(delivery))(store)
    assert entry is not None
    assert (entry.state, entry.destination, entry.receipt) == (DeliveryState.DELIVERED, A, {"ts": "1.2"})
    assert entry.content is not None
    assert entry.content["title"] == claim.notification.title
    assert inside(lambda opened: opened.delivery_queries.get(delivery + 1))(store) is None
    assert inside(lambda opened: opened.delivery_queries.rows([delivery]))(store) == [entry]


@pytest.mark.usefixtures("any_store")
def test_a_prefix_of_a_notification_id_finds_its_deliveries() -> None:
    store = new_store()
    queued(store, 5, (A, B))
    entries = inside(lambda opened: opened.delivery_queries.rows(opened.delivery_queries.ids(ALL, limit=100)))(
        store
    )
    for entry in entries:
        for prefix in (entry.notification_id, entry.notification_id[:12]):
            meant = {entry.id for entry in entries if entry.notification_id.startswith(prefix)}
            with store.transaction():
                matches = store.delivery_queries.find_by_notification(prefix, limit=100)
            assert {delivery_id for delivery_id, _, _ in matches} == meant


@pytest.mark.usefixtures("any_store")
def test_a_retried_delivery_lives_as_long_as_a_new_one() -> None:
    store = new_store()
    first, second, third = queued(store)
    claims = claim_all(A, now=SOON)(store)
    settle(store, claims[0], DeliveryState.DEAD, "refused")
    settle(store, claims[1], DeliveryState.DELIVERED)
    later = NOW + timedelta(hours=2)
    handled = inside(lambda opened: opened.delivery_queries.retry([first, second, third, 999], now=later))(store)
    assert (handled.changed, handled.destinations) == ([first], {A})
    assert handled.refused == {
        second: "it was delivered",
        third: "it is queued already",
        999: "there is no such delivery",
    }
    again = next(claim for claim in claim_all(A, now=later)(store) if claim.id == first)
    assert (again.attempts, again.fault, again.fault_count, again.created_at) == (0, None, 0, later)
    assert again.notification.title == claims[0].notification.title
    # The older one behind it still expires.
    hour_ago = later - timedelta(hours=1)
    gone = inside(
        lambda opened: opened.backlog.expire(A, older_than=hour_ago, now=later, reason="waited too long")
    )(store)
    assert gone == 1
    assert ids(store, DeliveryFilter(states=(DeliveryState.QUEUED,))) == [first]


@pytest.mark.usefixtures("any_store")
def test_a_dropped_delivery_is_dead_with_a_reason_and_may_be_retried() -> None:
    store = new_store()
    first, second, third = queued(store)
    settle(store, claim_all(A, now=SOON)(store)[0], DeliveryState.DELIVERED)
    handled = inside(
        lambda opened: opened.delivery_queries.drop([first, second, third], now=NOW, in_flight={third})
    )(store)
    assert handled.changed == [second]
    assert handled.refused == {first: "it is delivered", third: "it is on its way at this moment"}
    entry = inside(lambda opened: opened.delivery_queries.get(second))(store)
    assert entry is not None
    assert (entry.state, entry.reason, entry.settled_at) == (DeliveryState.DEAD, DROPPED, NOW)
    assert [claim.id for claim in claim_all(A, now=SOON)(store)] == [third]
    assert inside(lambda opened: opened.delivery_queries.retry([second], now=NOW))(store).changed == [second]


TIMES = st.none() | st.integers(-2, 12).map(lambda number: NOW + timedelta(seconds=number))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moves=st.lists(st.tuples(st.sampled_from([A, B]), st.sampled_from(list(DeliveryState))), max_size=10),
    destination=st.sampled_from([None, A, B, "slack.nobody"]),
    states=st.lists(st.sampled_from(list(DeliveryState)), unique=True).map(tuple),
    since=TIMES,
    until=TIMES,
    size=st.integers(1, 4),
)
def test_pages_contain_each_match_once_in_order(
    moves: list[tuple[str, DeliveryState]],
    destination: str | None,
    states: tuple[DeliveryState, ...],
    since: datetime | None,
    until: datetime | None,
    size: int,
) -> None:
    store = new_store()
    for number, (name, state) in enumerate(moves):
        moment = NOW + timedelta(seconds=number)
        queue_up([event("task_failed", f"t{number}", at=number)], (name,), moment)(store)
        if state is not DeliveryState.QUEUED:
            settle(store, claim_all(name, now=moment)(store)[-1], state)
    criteria = DeliveryFilter(destination, states, since, until)
    everything = inside(lambda opened: opened.delivery_queries.rows(opened.delivery_queries.ids(ALL, limit=100)))(
        store
    )
    meant = [
        entry.id
        for entry in everything
        if destination in (None, entry.destination)
        and (not states or entry.state in states)
        and (since is None or entry.created_at >= since)
        and (until is None or entry.created_at < until)
    ]
    matches: list[int] = []
    while portion := ids(store, criteria, size, matches[-1] if matches else None):
        assert len(portion) <= size
        matches += portion
    assert matches == sorted(meant, reverse=True)


@pytest.mark.usefixtures("any_store")
def test_given_up_deliveries_are_counted_by_destination() -> None:
    """Without those that a fallback took over, that were dropped by hand, or that wait again."""
    store = new_store()

    def given_up(since_s: float = 0) -> dict[str, GivenUp]:
        since = NOW + timedelta(seconds=since_s)
        return inside(lambda opened: opened.delivery_queries.given_up_since(since))(store)

    queued(store, 5, (A, B))
    assert given_up(-3600) == {}
    for seconds, claim in enumerate(claim_all(A, now=SOON)(store)[:4]):
        settle(store, claim, DeliveryState.DEAD, f"refused {seconds}", NOW + timedelta(seconds=seconds))
    first, second, *_ = sorted(ids(store, DeliveryFilter(destination=A)))
    latest, later = NOW + timedelta(seconds=3), NOW + timedelta(seconds=4)
    assert given_up() == {A: GivenUp(4, latest, "refused 3")}
    assert given_up(2) == {A: GivenUp(2, latest, "refused 3")}
    assert given_up(4) == {}
    inside(lambda opened: opened.backlog.move_to_fallback({first: "refused"}, "console.c", NOW))(store)
    inside(lambda opened: opened.delivery_queries.retry([second], now=NOW))(store)
    other = ids(store, DeliveryFilter(destination=B))[0]
    inside(lambda opened: opened.delivery_queries.drop([other], now=latest, in_flight=()))(store)
    assert given_up() == {A: GivenUp(2, latest, "refused 3")}
    inside(lambda opened: opened.backlog.move_to_fallback({second: "too old"}, B, NOW))(store)
    inside(lambda opened: opened.delivery_queries.retry([first, second], now=NOW))(store)
    for claim in claim_all(A, now=SOON)(store)[:2]:
        settle(store, claim, DeliveryState.DEAD, "refused again", later)
    assert given_up() == {A: GivenUp(4, later, "refused again")}


def test_counting_given_up_deliveries_reads_only_those() -> None:
    store = new_store()
    queued(store, 3)
    for statement in (delivery_admin.GIVEN_UP_SINCE, delivery_admin.GIVEN_UP_REASON):
        compiled = statement.compile(dialect=sqlite_dialect())
        plan = store._connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", (0,) * len(compiled.params))
        assert "USING INDEX deliveries_given_up" in str(plan.all())


@pytest.mark.usefixtures("any_store")
def test_deliveries_that_were_retried_by_hand_hide_no_older_one_behind_them() -> None:
    """They are new but keep their places in front, as many as they are."""
    store = new_store()
    queued(store, 121)
    dead = sorted(ids(store, ALL))[:120]
    for claim in claim_all(A, limit=120, now=NOW + timedelta(hours=1))(store):
        settle(store, claim, DeliveryState.DEAD, "refused")
    later, oldest = NOW + timedelta(hours=2), max(ids(store, ALL))
    inside(lambda opened: opened.delivery_queries.retry(dead, now=later))(store)
    older_than = later - timedelta(hours=1)

    def overdue(opened: Store) -> list[int]:
        return opened.backlog.overdue_ids(
            A, older_than=older_than, exclude_ids=(), exclude_thread="none", limit=10
        )

    def count_if_over(threshold: int) -> int | None:
        return inside(lambda opened: opened.backlog.count_if_over(A, threshold=threshold, older_than=older_than))(
            store
        )

    assert inside(overdue)(store) == [oldest]
    assert count_if_over(100) == 121
    assert count_if_over(121) is None
    end = inside(lambda opened: opened.backlog.expire(A, older_than=older_than, now=later, reason="too old"))
    assert end(store) == 1
    assert end(store) == 0
    assert inside(overdue)(store) == []
    assert count_if_over(100) is None


def test_no_partial_index_makes_sqlite_compile_each_claim_anew() -> None:
    """It would do so for a parameter that is compared with the same column as the condition of such an index."""
    conditions = [str(index.dialect_options["sqlite"]["where"]) for index in schema.deliveries.indexes]
    assert [condition for condition in conditions if re.search(r"\bstate\b", condition)] == []
