"""Deliveries that the agents of one PostgreSQL store share."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from aintandem_notify.errors import MembershipLost
from aintandem_notify.store import Claim, DeliveryState, PruneLimits, PruneResult, Settlement, Store
from aintandem_notify.store.sharing.membership import ConfiguredDestination
from aintandem_notify.store.tables.outbox import WINDOW
from support.members import HERE, Join, expire, member, remove_expired, sql, titles
from support.outbox import NOW, claim_all, event, inside, queue_up


def settle(store: Store, claim: Claim, state: DeliveryState = DeliveryState.DELIVERED) -> None:
    inside(lambda store: store.outbox.settle([Settlement(claim, state, NOW, NOW)]))(store)


def test_no_agent_claims_a_delivery_that_another_has_claimed(join: Join) -> None:
    first, second = join("one"), join("two")
    queue_up([event("task_failed", run="a"), event("task_failed", run="b")], [HERE])(first)
    (claim,) = claim_all(HERE, 1)(first)
    assert titles(second, limit=9) == ["task_failed b"]
    assert titles(second, limit=9) == ["task_failed b"]  # it gets its own claims again
    settle(first, claim)
    assert titles(first) == []


@pytest.mark.parametrize("limit", [1, 9])
def test_a_thread_keeps_its_order_over_all_agents(join: Join, limit: int) -> None:
    first, second = join("one"), join("two")
    about = [event("task_started", run="a"), event("task_failed", run="a"), event("task_failed", run="b")]
    queue_up(about, [HERE])(first)
    (claim,) = claim_all(HERE, 1)(first)
    (other,) = claim_all(HERE, limit)(second)
    assert other.notification.title == "task_failed b"
    settle(second, other)
    settle(first, claim, DeliveryState.QUEUED)
    assert titles(second, limit)[0] == "task_started a"
    assert titles(first, limit) == []


@pytest.mark.parametrize("limit", [1, 9])
def test_an_uncommitted_claim_blocks_its_thread(join: Join, limit: int) -> None:
    first, second = join("one"), join("two")
    queue_up([event("task_started", run="a"), event("task_failed", run="a")], [HERE])(first)
    with first.transaction():
        assert len(first.outbox.claim(HERE, limit=1, now=NOW, horizon=NOW)) == 1
        assert titles(second, limit) == []


def test_concurrent_agents_never_claim_the_same_delivery(join: Join) -> None:
    stores = [join(f"agent {n}") for n in range(4)]
    about = [event("artifact", run=f"t{n % 5}", artifact={"path": str(n)}) for n in range(100)]
    queue_up(about, [HERE])(stores[0])
    acquired: list[tuple[str, int]] = []

    def work(store: Store) -> None:
        idle = 0
        while idle < 20:
            claims = claim_all(HERE, 1)(store)
            for claim in claims:
                acquired.append((claim.notification.thread, claim.id))
                settle(store, claim)
            idle = 0 if claims else idle + 1

    workers = [threading.Thread(target=work, args=[store]) for store in stores]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(acquired) == len({number for _, number in acquired}) == 100
    for thread in {thread for thread, _ in acquired}:
        in_order = [number for agent, number in acquired if agent == thread]
        assert in_order == sorted(in_order)


def test_claims_of_a_dead_agent_go_to_others_who_settle_them(join: Join) -> None:
    dead, alive = join("one"), join("two")
    queue_up([event("task_failed")], [HERE])(dead)
    (claim,) = claim_all(HERE, 1)(dead)
    expire(dead)
    remove_expired(alive)
    assert titles(alive) == ["task_failed t1"]
    dead.join("one", projects_hash="all", version="1")
    settle(dead, claim)  # too late: another agent has claimed it meanwhile
    assert sql(alive, "SELECT state FROM deliveries") == [("queued",)]
    settle(alive, claim)
    assert sql(alive, "SELECT state, claimed_by FROM deliveries") == [("delivered", None)]


def test_a_delivery_that_another_agent_made_meanwhile_gets_no_fallback(join: Join) -> None:
    dead, alive = join("one"), join("two")
    queue_up([event("task_failed")], [HERE])(dead)
    (claim,) = claim_all(HERE, 1)(dead)
    expire(dead)
    remove_expired(alive)
    (again,) = claim_all(HERE, 1)(alive)
    settle(alive, again)
    dead.join("one", projects_hash="all", version="1")
    settle(dead, claim, DeliveryState.DEAD)
    inside(lambda store: store.backlog.move_to_fallback({claim.id: "refused"}, "slack.b", NOW))(dead)
    assert sql(alive, "SELECT destination, state FROM deliveries") == [(HERE, "delivered")]


def test_a_delivery_that_is_queued_again_during_pruning_stays(join: Join) -> None:
    pruning, hand, watch = join("one"), join("two"), join("three")
    queue_up([event("task_failed")], [HERE])(hand)
    (claim,) = claim_all(HERE, 1)(hand)
    settle(hand, claim, DeliveryState.DEAD)
    limits = PruneLimits(NOW + timedelta(days=40), timedelta(days=30))
    pages: list[PruneResult] = []

    def prune() -> None:
        pages.append(inside(lambda store: store.retention.prune_deliveries(limits, None))(pruning))

    thread = threading.Thread(target=prune)
    with hand.transaction():
        assert hand.delivery_queries.retry([claim.id], now=NOW).changed == [claim.id]
        thread.start()
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while sql(watch, waits) == [(0,)]:
            pass
    thread.join()
    assert [page.removed for page in pages] == [0]
    assert titles(hand) == ["task_failed t1"]


def test_a_sent_delivery_is_recorded_after_a_lapse_if_it_is_unclaimed(join: Join) -> None:
    store = join("one")
    queue_up([event("task_failed")], [HERE])(store)
    (claim,) = claim_all(HERE, 1)(store)
    expire(store)
    with pytest.raises(MembershipLost):
        settle(store, claim)
    store.join("one", projects_hash="all", version="1")
    settle(store, claim)
    assert sql(store, "SELECT state FROM deliveries") == [("delivered",)]


def test_claims_that_are_not_in_flight_are_released(join: Join) -> None:
    first, second = join("one"), join("two")
    queue_up([event("task_failed")], [HERE])(first)
    assert titles(first) == ["task_failed t1"]
    inside(lambda store: store.outbox.release_claims(HERE))(first)
    assert titles(second) == ["task_failed t1"]


def test_a_delivery_is_claimed_by_an_agent_with_its_settings(join: Join) -> None:
    first = join("one", {HERE: ConfiguredDestination("red")})
    second = join("two", {HERE: ConfiguredDestination("blue")})
    queue_up([event("task_failed")], [HERE])(first)
    assert titles(second) == []
    assert titles(first) == ["task_failed t1"]


def test_any_agent_claims_a_delivery_whose_settings_no_living_agent_has(join: Join) -> None:
    first = join("one", {HERE: ConfiguredDestination("red")})
    second = join("two", {HERE: ConfiguredDestination("blue")})
    queue_up([event("task_failed")], [HERE])(first)
    inside(lambda store: member(store).set_destinations({HERE: ConfiguredDestination("green")}))(first)
    assert titles(second) == ["task_failed t1"]


@pytest.mark.parametrize("limit", [1, 9])
def test_a_destination_on_one_machine_belongs_to_that_agent(join: Join, limit: int) -> None:
    local = {HERE: ConfiguredDestination("same", local=True)}
    first, second = join("one", local), join("two", local)
    queue_up([event("task_started", run="a"), event("task_failed", run="b")], [HERE])(first)
    queue_up([event("task_failed", run="a")], [HERE])(second)
    assert titles(second, limit) == [
        "task_failed a"
    ]  # a delivery that waits for another agent does not block this one
    first.close()
    sql(second, "UPDATE agents SET expires_at = 0 WHERE node = 'one'")
    remove_expired(second)
    assert titles(second, limit) == ["task_failed a"]
    again = join("one", {HERE: ConfiguredDestination("changed", local=True)})
    assert titles(again, 9) == ["task_started a", "task_failed b"]


@pytest.mark.parametrize(
    ("of_first", "of_second", "claimed_by_first"),
    [
        (ConfiguredDestination("red"), ConfiguredDestination("blue"), 0),
        (ConfiguredDestination("same", local=True), ConfiguredDestination("same", local=True), 0),
        (ConfiguredDestination("same"), ConfiguredDestination("same"), WINDOW + 1),
    ],
    ids=["other settings", "another machine", "claimed"],
)
def test_a_long_queue_of_another_agent_hides_none_of_this_one(
    join: Join,
    of_first: ConfiguredDestination,
    of_second: ConfiguredDestination,
    claimed_by_first: int,
) -> None:
    first, second = join("one", {HERE: of_first}), join("two", {HERE: of_second})
    queue_up([event("task_failed", run=f"a{number}") for number in range(WINDOW + 1)], [HERE])(first)
    claim_all(HERE, claimed_by_first)(first)
    queue_up([event("task_failed", run="b")], [HERE])(second)

    def claim(store: Store) -> list[Claim]:
        return store.outbox.claim(HERE, limit=9, now=NOW, horizon=NOW, under_way=[])

    assert [one.notification.title for one in inside(claim)(second)] == ["task_failed b"]


ROWS_READ = (
    "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
    " WHERE relname = 'deliveries'"
)


@pytest.mark.parametrize("parameters", [{"under_way": []}, {"under_way": [], "after": 0}, {}], ids=str)
def test_a_claim_reads_each_row_a_few_times_before_the_database_has_statistics(
    join: Join, parameters: dict[str, Any]
) -> None:
    agent, queued = join("one"), 600
    queue_up([event("task_failed", run=f"t{number % 5}", at=number) for number in range(queued)], [HERE])(agent)
    with agent.transaction():
        claims = agent.outbox.claim(HERE, limit=9, now=NOW, horizon=NOW, **parameters)
        (rows_read,) = agent._connection.execute(text(ROWS_READ)).one()
    assert claims
    assert rows_read < 10 * queued, "a join would read 360,000"
