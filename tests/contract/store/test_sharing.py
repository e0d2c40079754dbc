"""Several agents on one real PostgreSQL: membership, ownership of projects, and claims of deliveries."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
from sqlalchemy import text

from aintandem_notify.errors import MembershipLost, StoreError
from aintandem_notify.store import (
    Claim,
    DeliveryState,
    JournalChanges,
    PruneLimits,
    PruneResult,
    Settlement,
    Storage,
    Store,
)
from aintandem_notify.store.engine.migrations import SCHEMA_VERSION
from aintandem_notify.store.sharing.membership import MAX_PLACES, ConfiguredDestination, Membership
from aintandem_notify.store.tables.outbox import WINDOW
from support.ingesting import open_bench
from support.outbox import NOW, claim_all, event, inside, queue_up
from support.postgres import Postgres

HERE = "slack.a"
SAME = {HERE: ConfiguredDestination("same")}

Join = Callable[..., Store]


@pytest.fixture
def join(postgres_url: str, long_leases: float) -> Iterator[Join]:
    """Opens the database as a new agent with the given name."""
    with ExitStack() as opened:

        def join(node: str, destinations: Mapping[str, ConfiguredDestination] = SAME) -> Store:
            store = Store(postgres_url)
            opened.callback(store.close)
            member(store).destinations = destinations
            store.join(node, projects_hash="all", version="1")
            return store

        yield join


def member(store: Store) -> Membership:
    assert store.membership is not None
    return store.membership


def sql(store: Store, statement: str, **values: Any) -> list[Any]:
    with store.transaction(fenced=False):
        result = store._connection.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


def expire(store: Store) -> None:
    """Ends the agent's lease, which nobody has noticed yet."""
    sql(store, "UPDATE agents SET expires_at = 0 WHERE id = :me", me=member(store).id)


def titles(store: Store, limit: int = 1, destination: str = HERE) -> list[str]:
    """The titles of the notifications that this agent claims."""
    return [claim.notification.title for claim in claim_all(destination, limit)(store)]


def settle(store: Store, claim: Claim, state: DeliveryState = DeliveryState.DELIVERED) -> None:
    inside(lambda store: store.outbox.settle([Settlement(claim, state, NOW, NOW)]))(store)


def remove_expired(store: Store) -> int:
    return inside(lambda store: member(store).remove_expired())(store)


def test_a_member_extends_its_lease_by_renewing(join: Join, long_leases: float) -> None:
    first, second = join("one"), join("two")
    peers = inside(lambda store: member(store).peers())(first)
    assert {peer.id for peer in peers} == {member(first).id, member(second).id}
    assert all(0.9 * long_leases < peer.lease_s <= long_leases for peer in peers)
    sql(first, "UPDATE agents SET expires_at = expires_at - :elapsed", elapsed=int(0.9 * long_leases * 1e6))
    inside(lambda store: member(store).renew("all"))(first)
    leases = {peer.id: peer.lease_s for peer in inside(lambda store: member(store).peers())(second)}
    assert leases[str(member(first).id)] > 0.9 * long_leases
    assert leases[str(member(second).id)] <= 0.1 * long_leases


@pytest.mark.parametrize(("places", "published"), [(None, None), (19, 19), (2**62, MAX_PLACES)])
def test_an_agent_publishes_how_many_projects_it_can_watch(
    join: Join, postgres_url: str, places: int | None, published: int | None
) -> None:
    with closing(Store(postgres_url)) as store:
        member(store).places = places
        store.join("few", projects_hash="all", version="1")
        other = join("other")
        for agent in (store, other):
            inside(lambda store: member(store).renew("all"))(agent)
        peers = inside(lambda store: member(store).peers())(other)
    assert {peer.node: peer.places for peer in peers} == {"few": published, "other": None}


def test_reading_free_projects_without_a_lock_blocks_nobody(join: Join) -> None:
    full, roomy = join("full"), join("roomy")
    with full.transaction():
        member(full).add_projects(["p", "q"])
    with full.transaction():
        assert member(full).free_projects("", lock=False) == ["p", "q"]
        with roomy.transaction():
            assert member(roomy).free_projects("") == ["p", "q"]
            assert member(full).free_projects("") == []
            assert member(full).free_projects("", lock=False) == ["p", "q"]
            assert member(roomy).acquire_projects(["p", "q"]) == {"p", "q"}
        assert member(full).free_projects("", lock=False) == []


VERSION_2 = (
    "ALTER TABLE agents DROP COLUMN places",
    "UPDATE meta SET value = '2' WHERE key = 'schema_version'",
)
JOIN_2 = (
    "INSERT INTO agents (id, node, entries, version, projects, started_at, expires_at)"
    " VALUES ('old', 'old one', 'all', '0', 0, 0, 9e15)"
)
RENEW_2 = "UPDATE agents SET projects = 3, entries = 'all' WHERE id = 'old'"


def test_an_agent_of_the_previous_version_works_on_and_has_no_limit(join: Join, postgres_url: str) -> None:
    first = join("first")
    for statement in (*VERSION_2, JOIN_2):
        sql(first, statement)
    newer = join("newer")
    assert sql(newer, "SELECT value FROM meta WHERE key = 'schema_version'") == [(str(SCHEMA_VERSION),)]
    sql(first, RENEW_2)
    peers = inside(lambda store: member(store).peers())(newer)
    assert [(peer.projects, peer.places) for peer in peers if peer.id == "old"] == [(3, None)]
    inside(lambda store: member(store).renew("all"))(first)


def test_an_agent_whose_lease_is_over_stores_nothing(join: Join) -> None:
    store = join("one")
    expire(store)
    for _ in range(2):
        with pytest.raises(MembershipLost):
            queue_up([event("task_failed")])(store)
    assert not member(store).is_valid
    assert sql(store, "SELECT count(*) FROM events") == [(0,)]
    store.join("one", projects_hash="all", version="1")
    queue_up([event("task_failed")])(store)
    assert sql(store, "SELECT count(*) FROM events") == [(1,)]


def test_a_late_transaction_of_a_dead_agent_is_refused(join: Join) -> None:
    stopped, alive = join("one"), join("two")
    expire(stopped)
    assert remove_expired(alive) == 1
    assert remove_expired(alive) == 0
    with pytest.raises(MembershipLost):
        queue_up([event("task_failed")])(stopped)


def test_an_agent_in_the_middle_of_a_transaction_is_not_removed(join: Join) -> None:
    stopped, alive = join("one"), join("two")
    with stopped.transaction():
        pass
    with stopped.transaction():
        with alive.transaction(fenced=False):
            alive._connection.execute(
                text("UPDATE agents SET expires_at = 0 WHERE id = :me"), {"me": member(stopped).id}
            )
        assert remove_expired(alive) == 0
    assert remove_expired(alive) == 1


def test_a_renewal_after_the_lease_fails(join: Join) -> None:
    store = join("one")

    def renew(store: Store) -> None:
        store._connection.execute(text("UPDATE agents SET expires_at = 0"))
        member(store).renew("all")

    with pytest.raises(MembershipLost):
        inside(renew)(store)


def test_two_agents_of_one_name_notice_each_other(join: Join) -> None:
    first = join("one")
    with pytest.raises(StoreError, match='another agent called "one" shares this store'):
        join("one")
    queue_up([event("task_failed")])(first)


def test_a_restarted_agent_has_its_projects_and_claims_back_at_once(join: Join) -> None:
    first = join("one")
    own(first, ["a", "b"])
    queue_up([event("task_failed")], [HERE])(first)
    assert titles(first) == ["task_failed t1"]
    first.close()
    again = join("one")
    assert member(again).projects == {"a", "b"}
    assert titles(again) == ["task_failed t1"]
    assert len(sql(again, "SELECT id FROM agents")) == 1


def test_an_agent_that_lost_its_connection_locks_its_name_again(join: Join, postgres: Postgres) -> None:
    store = join("one")
    cut(store, postgres)
    with pytest.raises(StoreError):
        titles(store)
    assert titles(store) == []
    with pytest.raises(StoreError, match="another agent called"):
        join("one")


def test_an_agent_that_lost_its_connection_and_its_name_is_no_member(join: Join, postgres: Postgres) -> None:
    store = join("one")
    cut(store, postgres)
    other = join("one")
    with pytest.raises(StoreError):
        titles(store)
    with pytest.raises(MembershipLost):
        titles(store)
    assert titles(other) == []


def cut(store: Store, postgres: Postgres) -> None:
    """Closes the connection, as a network failure does."""
    ((pid,),) = sql(store, "SELECT pg_backend_pid()")
    with postgres.admin() as admin:
        ended = admin.execute("SELECT pg_terminate_backend(%s, 300000)", [pid]).fetchone()
    assert ended == (True,)


def test_leaving_releases_everything_at_once(join: Join) -> None:
    first, second = join("one"), join("two")
    own(first, ["a"])
    queue_up([event("task_failed")], [HERE])(first)
    assert titles(first) == ["task_failed t1"]
    first.leave()
    assert inside(lambda store: member(store).free_projects(""))(second) == ["a"]
    assert titles(second) == ["task_failed t1"]
    with pytest.raises(MembershipLost):
        queue_up([event("task_started")])(first)


def own(store: Store, ids: list[str]) -> set[str]:
    def take(store: Store) -> set[str]:
        member(store).add_projects(ids)
        return member(store).acquire_projects(ids)

    acquired = inside(take)(store)
    member(store).projects |= acquired
    return acquired


def test_a_project_has_one_owner(join: Join) -> None:
    first, second = join("one"), join("two")
    assert own(first, ["a", "b"]) == {"a", "b"}
    assert own(second, ["b", "c"]) == {"c"}
    inside(lambda store: member(store).release_projects(["a", "c"]))(first)
    assert inside(lambda store: member(store).free_projects(""))(second) == ["a"]
    assert inside(lambda store: member(store).owned_projects())(first) == {"b"}


def test_projects_of_dead_agents_are_free(join: Join) -> None:
    dead, alive = join("one"), join("two")
    own(dead, [f"p{n:04}" for n in range(12_000)])
    expire(dead)
    remove_expired(alive)
    free = inside(lambda store: member(store).free_projects("p0999", limit=3))(alive)
    assert free == ["p1000", "p10000", "p10001"]
    assert len(own(alive, [f"p{n:04}" for n in range(12_000)])) == 12_000


def test_locked_free_projects_are_hidden_from_other_agents(join: Join) -> None:
    first, second = join("one"), join("two")
    own(first, ["a", "b"])
    inside(lambda store: member(store).release_projects(["a", "b"]))(first)
    with first.transaction():
        assert member(first).free_projects("", limit=1) == ["a"]
        assert inside(lambda store: member(store).free_projects(""))(second) == ["b"]


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


def test_only_the_owner_changes_the_progress_of_a_project(join: Join) -> None:
    first, second = join("one"), join("two")
    own(first, ["p", "q"])
    own(second, ["r"])
    with first.transaction():
        first.journal.write(JournalChanges(new_projects=dict.fromkeys("pqr", NOW)), NOW)
    later = NOW + timedelta(hours=1)
    trio.run(_see, first, dict.fromkeys("pqr", later))
    with second.transaction():
        watched = second.journal.watch_progress("pqr")
    assert {name: agent.seen_until for name, agent in watched.items()} == {"p": later, "q": later, "r": NOW}


async def _see(store: Store, moments: Mapping[str, datetime]) -> None:
    async with open_bench(Storage(store, inline=True)) as bench:
        await bench.ingest.mark_seen(moments)


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


def test_an_agent_that_has_not_joined_may_read_and_is_not_fenced(join: Join, postgres_url: str) -> None:
    join("one")
    visitor = Store(postgres_url)
    queue_up([event("task_failed")], [HERE])(visitor)
    assert len(inside(lambda store: store.outbox.queues())(visitor)) == 1
    visitor.leave()
    visitor.close()


def test_a_store_with_one_owner_cannot_be_shared() -> None:
    with pytest.raises(StoreError, match="it has one owner"):
        Store("sqlite://").join("one", projects_hash="all", version="1")
