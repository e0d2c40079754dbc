"""Several agent processes on one real PostgreSQL: they share the projects, and any of them may die."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import trio

from aintandem_notify.foundation.open_files import file_budget
from aintandem_notify.sharing.lease import EXPIRY_MARGIN_S, RENEW_INTERVAL_S
from aintandem_notify.store.sharing.membership import LEASE_S
from support.agent_process import AgentProcess, ended_well, open_agent
from support.commands import run_command
from support.configs import write_config
from support.nasty.process import LIMITS
from support.postgres import Postgres
from support.raw_orchestrator import RawOrchestrator, RawSocket, event_text, frame, open_raw_orchestrator
from support.receivers import WebhookReceiver, open_webhook_receiver

PROJECTS = tuple(f"p{n}" for n in range(6))
PARALLEL = 4
"""Deliveries in flight at the webhook. A kill, or a response that cannot be recorded, repeats as many at most."""
TAKE_OVER_S = 15.0
"""The promised time in seconds. The time beyond the lease depends on the machine; the benchmarks measure it."""


@dataclass
class Bench:
    """A receiver, and an orchestrator whose projects send events at intervals to the watching agent."""

    folder: Path
    url: str
    raw: RawOrchestrator
    webhook: WebhookReceiver
    sent: int = 0
    silent: bool = False

    async def feed(self) -> None:
        async with trio.open_nursery() as nursery:
            async for socket in self.raw.connections:
                nursery.start_soon(self._feed, socket)

    async def _feed(self, socket: RawSocket) -> None:
        try:
            while not (socket.closed.is_set() or self.silent):
                self.sent += 1
                arrived = len(self.webhook.deliveries)
                text = event_text("task_failed", socket.project_id, taskId=f"t{self.sent}", error="x")
                await socket.send_bytes_raw(frame(text))
                await trio.sleep(0.3)
                # Not faster than they are delivered, or the queue grows without end on a busy machine. Events that
                # were lost with an agent delay this for three seconds at most.
                with trio.move_on_after(3):
                    await self.webhook.wait_for(arrived + len(PROJECTS))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    @asynccontextmanager
    async def agent(
        self, name: str, *, projects: tuple[str, ...] = PROJECTS, shell: str = 'exec "$@"', rules: str = ""
    ) -> AsyncIterator[AgentProcess]:
        """Starts an agent with its own folder, as if on its own machine."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        config = write_config(
            folder,
            self.raw.url,
            f'[store]\nurl = "{self.url}"\n',
            f'[agent]\nname = "{name}"\n',
            f'[plugins.webhook.ops]\nurl = "{self.webhook.url}"\nevents = ["task_failed"]\n'
            f"parallel = {PARALLEL}\n",
            rules,
            projects=projects,
        )
        async with open_agent("run", config, cwd=folder, shell=shell) as agent:
            await agent.wait_for_log('"started"')
            yield agent

    def query(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def projects_by_agent(self) -> dict[str, int]:
        """The number of projects of each agent, by its name."""
        query = "SELECT node, count(*) FROM projects JOIN agents ON agents.id = owner GROUP BY node"
        return {str(node): int(str(count)) for node, count in self.query(query)}

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Polls, since no event shows a change in the database."""
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.1)

    async def wait_until_all_delivered(self) -> None:
        """Waits until every event that any agent has stored has reached the receiver."""
        # One statement, which sees one snapshot: between two, another event may be stored.
        query = (
            "SELECT n.id, d.state FROM events LEFT JOIN notifications n ON n.event_key = key"
            " LEFT JOIN deliveries d ON d.notification_id = n.id WHERE type = 'task_failed'"
        )
        stored = self.query(query)
        while any(state != "delivered" for _, state in stored):
            assert all(name is not None for name, _ in stored), "an event without a notification"
            await trio.sleep(0.1)
            stored = self.query(query)
        # The agents' own notices arrive, too.
        assert {str(name) for name, _ in stored} <= self.webhook.ids.keys()


@asynccontextmanager
async def open_bench(folder: Path, postgres: Postgres) -> AsyncIterator[Bench]:
    async with (
        open_raw_orchestrator() as raw,
        open_webhook_receiver(secret=None) as webhook,
        trio.open_nursery() as nursery,
    ):
        bench = Bench(folder, postgres.new_database(), raw, webhook)
        nursery.start_soon(bench.feed)
        yield bench
        nursery.cancel_scope.cancel()


def test_a_lease_is_over_soon_enough_to_take_over_in_time() -> None:
    assert LEASE_S + RENEW_INTERVAL_S + EXPIRY_MARGIN_S < TAKE_OVER_S


async def test_a_killed_agents_projects_are_taken_over_and_nothing_is_lost(
    tmp_path: Path, postgres: Postgres
) -> None:
    async with open_bench(tmp_path, postgres) as bench, bench.agent("one") as first:
        await bench.wait_until(lambda: bench.projects_by_agent() == {"one": 6})
        async with bench.agent("two") as second:
            await bench.wait_until(lambda: bench.projects_by_agent() == {"one": 3, "two": 3})
            await bench.webhook.wait_for(20)
            second.kill()
            await second.wait()
            await bench.wait_until(lambda: bench.projects_by_agent() == {"one": 6})
            await bench.wait_until(lambda: len(bench.raw.open_sockets) == 6)
        await bench.webhook.wait_for(bench.webhook.ids.total() + 30)
        async with bench.agent("two") as second:
            await bench.wait_until(lambda: bench.projects_by_agent() == {"one": 3, "two": 3})
            await ended_well(second)
        await bench.wait_until(lambda: bench.projects_by_agent() == {"one": 6})
        bench.silent = True
        await bench.wait_until_all_delivered()
        await ended_well(first)
    assert bench.webhook.ids.total() - len(bench.webhook.ids) <= PARALLEL


async def test_all_that_a_killed_agent_held_is_told_once_by_another(tmp_path: Path, postgres: Postgres) -> None:
    rules = (
        '[[rules]]\nname = "held"\nevents = ["task_failed"]\nnotify = ["webhook.ops"]\n'
        'settle = "2s"\ngroup = { by = ["rule"], wait = "2s", every = "2s" }\n'
    )
    async with open_bench(tmp_path, postgres) as bench, bench.agent("one", rules=rules) as first:
        bench.silent = True
        await bench.wait_until(lambda: bench.projects_by_agent() == {"one": 6})
        async with bench.agent("two", rules=rules) as second:
            await bench.wait_until(lambda: bench.projects_by_agent() == {"one": 3, "two": 3})
            await bench.wait_until(
                lambda: {socket.project_id for socket in bench.raw.open_sockets} == set(PROJECTS)
            )
            for socket in bench.raw.open_sockets:
                now = datetime.now(UTC).isoformat()
                await socket.send_event("task_failed", taskId=f"of-{socket.project_id}", error="x", timestamp=now)
            held = "SELECT count(*) FROM held WHERE type = 'task_failed'"
            await bench.wait_until(lambda: bench.query(held) == [(6,)])
            second.kill()
            await second.wait()
        await bench.wait_until(lambda: bench.query(f"{held} AND told_by IS NULL") == [(0,)])
        queued = "SELECT count(*) FROM deliveries WHERE state <> 'delivered'"
        await bench.wait_until(lambda: bench.query(queued) == [(0,)])
        await ended_well(first)
    told = {
        headers["webhook-id"]: body
        for headers, body in zip(bench.webhook.headers, bench.webhook.deliveries, strict=True)
    }
    about = [body["data"]["event"] for body in told.values()]
    failures = [event for event in about if event["type"] in ("task_failed", "digest")]
    assert sum(event.get("count", 1) for event in failures) == len(PROJECTS)


async def test_a_database_that_goes_away_stops_the_agent_until_it_is_back(
    tmp_path: Path, own_postgres: Postgres
) -> None:
    async with open_bench(tmp_path, own_postgres) as bench, bench.agent("one") as first:
        await bench.webhook.wait_for(10)
        own_postgres.stop()
        await first.wait_for_log("the lease on the store is over, reading and sending stop")
        while bench.raw.open_sockets:  # noqa: ASYNC110  # no event shows the end of a socket
            await trio.sleep(0.05)
        own_postgres.start()
        await bench.wait_until(lambda: len(bench.raw.open_sockets) == 6)
        await bench.webhook.wait_for(bench.webhook.ids.total() + 10)
        bench.silent = True
        await bench.wait_until_all_delivered()
        await ended_well(first)
    assert bench.webhook.ids.total() - len(bench.webhook.ids) <= PARALLEL


async def test_projects_without_a_place_are_watched_by_another_agent_while_there_is_one(
    tmp_path: Path, postgres: Postgres
) -> None:
    projects = tuple(f"p{n}" for n in range(50))
    places = int(file_budget(64).links)
    remaining = len(projects) - places
    assert places < remaining, "an even share would do"
    shell = LIMITS["64 descriptors"].script
    async with open_bench(tmp_path, postgres) as bench:
        bench.silent = True
        async with bench.agent("few", projects=projects, shell=shell) as few:
            await few.wait_for_log("some projects are watched by no agent")
            await bench.wait_until(lambda: len(bench.raw.open_sockets) == places)
            agents = await status_of(tmp_path / "few")
            assert (len(agents["projects"]), agents["unwatched"]["projects"]) == (places, remaining)
            async with bench.agent("roomy", projects=projects) as roomy:
                await few.wait_for_log("every project is watched by an agent again")
                assert bench.projects_by_agent() == {"few": places, "roomy": remaining}
                await bench.wait_until(lambda: len(bench.raw.open_sockets) == len(projects))
                agents = await status_of(tmp_path / "roomy")
                assert agents["unwatched"] is None
                assert [(peer["projects"], peer["places"]) for peer in agents["peers"]] == [(places, places)]
                await ended_well(roomy)
            await few.wait_for_log("some projects are watched by no agent", times=2)
            assert len(bench.raw.open_sockets) == places
            await ended_well(few)
    assert "not all projects can be watched" not in few.everything
    assert not [line for line in few.stderr if "Too many open files" in line]


async def status_of(folder: Path) -> Any:
    """The output of ``status`` for the agent of this folder."""
    return json.loads((await run_command("status", "--json", cwd=folder, environ=state(folder))).out)


def state(folder: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(folder / "state")}
