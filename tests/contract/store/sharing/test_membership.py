"""Agents that join one PostgreSQL store: leases, names, fencing and projects."""

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta

import pytest
import trio
from sqlalchemy import text

from aintandem_notify.errors import MembershipLost, StoreError
from aintandem_notify.store import JournalChanges, Storage, Store
from aintandem_notify.store.engine.migrations import SCHEMA_VERSION
from aintandem_notify.store.sharing.membership import MAX_PLACES
from support.ingesting import open_bench
from support.members import HERE, Join, expire, member, remove_expired, sql, titles
from support.outbox import NOW, event, inside, queue_up
from support.postgres import Postgres


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
    "DROP TABLE held",
    "DROP TABLE stage_windows",
    "DROP TABLE silences",
    "DROP TABLE episodes",
    "DROP TABLE episode_recipients",
    "DROP TABLE subject_starts",
    "DROP TABLE watch_timers",
    "DROP TABLE blind_times",
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
