"""The agents on a shared store, as listed by one of them and by a command without an agent; real PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from sqlalchemy import text

from aintandem_notify.control.client.backend import open_backend
from aintandem_notify.control.schemas import StatusResponse
from aintandem_notify.store import Store
from aintandem_notify.store.sharing.membership import Membership
from support.commands import run_command
from support.control import open_scene
from support.outbox import NOW, claim_all, event, queue_up

Join = Callable[..., Store]
DESTINATION = "slack.team"


@pytest.fixture
def join(postgres_url: str, long_leases: float) -> Iterator[Join]:
    """Adds an agent with this name and these projects."""
    with ExitStack() as opened:

        def join(node: str, *projects: str, places: int | None = None) -> Store:
            store = Store(postgres_url)
            opened.callback(store.close)
            assert isinstance(store.membership, Membership)
            store.membership.places = places
            store.join(node, projects_hash="all", version="1.2.3")
            with store.transaction():
                store.membership.add_projects(projects)
                store.membership.projects = store.membership.acquire_projects(projects)
                store.membership.renew("all")
            return store

        yield join


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    config = tmp_path / "config.toml"
    config.write_text(f'[orchestrator]\nurl = "simulator"\n[store]\nurl = "{postgres_url}"\n')
    return config


async def status(config: Path) -> StatusResponse:
    def status_of_store() -> StatusResponse:
        with open_backend(config) as backend:
            return backend.status()

    return await trio.to_thread.run_sync(status_of_store)


def silence(store: Store, seconds: int) -> None:
    """Sets back the time at which the agent was last seen."""
    with store.transaction(fenced=False):
        assert isinstance(store.membership, Membership)
        values = {"me": store.membership.id, "since": seconds * 1_000_000}
        store._connection.execute(
            text("UPDATE agents SET expires_at = expires_at - :since WHERE id = :me"), values
        )


async def test_an_agent_lists_the_others_and_not_itself(
    join: Join, config: Path, postgres_url: str, long_leases: float
) -> None:
    join("night", "p1", "p2")
    silent_s = int(long_leases) + 60
    silence(join("evening", "p3"), silent_s)
    async with open_scene(config.parent, url=postgres_url) as scene:
        assert (await status(config)).peers != ()
        await scene.storage.run(lambda store: store.join("day", projects_hash="all", version="1.2.3"))
        evening, night = (await status(config)).peers
    assert (evening.name, evening.version, evening.projects, evening.lost) == ("evening", "1.2.3", 1, True)
    assert (night.name, night.version, night.projects, night.lost) == ("night", "1.2.3", 2, False)
    # The time by the answering agent's clock; the age by the database's clock.
    assert silent_s <= (NOW - evening.seen_at).total_seconds() < silent_s + long_leases / 2
    assert 0 <= (NOW - night.seen_at).total_seconds() < long_leases / 2


async def test_where_no_agent_runs_here_the_others_are_shown_all_the_same(join: Join, config: Path) -> None:
    assert (await status(config)).peers == ()
    join("night", "p1", "p2")
    assert [(peer.name, peer.projects) for peer in (await status(config)).peers] == [("night", 2)]
    result = await run_command("status", cwd=config.parent)
    assert result.code == 1
    title, columns, row = result.out.splitlines()[-3:]
    assert title == "Other agents on this store"
    assert columns.split() == ["agent", "version", "projects", "last", "seen", "trouble"]
    assert row.split()[:3] == ["night", "1.2.3", "2"]
    join("small", "p3", places=1)
    result = await run_command("status", cwd=config.parent)
    assert result.out.splitlines()[-1].split()[:5] == ["small", "1.2.3", "1", "of", "1"]


async def test_a_store_with_one_owner_has_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with open_scene(tmp_path):
        assert (await status(tmp_path / "config.toml")).peers == ()


async def test_a_delivery_says_which_agent_has_it(join: Join, config: Path) -> None:
    night = join("night")
    queue_up([event("task_failed")], [DESTINATION])(night)
    assert len(claim_all(DESTINATION)(night)) == 1
    result = await run_command("deliveries", "show", "1", cwd=config.parent)
    assert "queued, on its way by the agent night" in result.out
