"""Every way in which the agent could notify nobody: all who show its health show the same, from begin to end."""

import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from aintandem_notify.control.discovery import control_file, find_endpoint
from aintandem_notify.domain.health import UNREADY_BY_DEFAULT
from aintandem_notify.http_client import HttpClient
from support.agent_process import AgentProcess, open_agent
from support.configs import write_config
from support.datagrams import bound_socket
from support.http_server import LoopbackServer, Received, Reply, open_server
from support.raw_http import RestAnswer
from support.raw_orchestrator import Accept, RawOrchestrator, Refuse, open_raw_orchestrator

PATIENCE_S = 240.0
"""Seconds that a busy machine may need to show a change; a quiet one needs four."""
POLL_S = 0.1
UUID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"

ODD_PLUGIN = """
import time
from contextlib import asynccontextmanager
from pathlib import Path
from aintandem_notify.api import Plugin, DestinationBroken, hookimpl

class Odd(Plugin):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        if Path("odd.broken").exists():
            raise DestinationBroken("odd is broken")
        yield

    @hookimpl
    async def on_event(self, event):
        if event.type == "task_started":
            time.sleep(2)
"""


class Hook:
    """A receiver of webhooks whose responses a test changes."""

    def __init__(self, server: LoopbackServer) -> None:
        self.server = server
        self.status = 204
        self.refused_types: set[str] = set()
        self.notices: list[dict[str, Any]] = []
        server.respond = self._respond

    def _respond(self, request: Received) -> Reply:
        payload = json.loads(request.body)
        status = 422 if payload["type"] in self.refused_types else self.status
        if status < 300:
            self.notices.append(payload["data"]["event"])
        return Reply(status, b"", {"content-length": "0"})

    def kinds(self, event_type: str) -> list[str]:
        """Returns the kinds of the notices of this type about the agent's health."""
        return [event["kind"] for event in self.notices if event["type"] == event_type]


@dataclass
class Station:
    """The agent as a process, all that it talks to, and all that shows its health."""

    folder: Path
    raw: RawOrchestrator
    pings: LoopbackServer
    first: Hook
    second: Hook
    datagrams: Any
    agent: AgentProcess | None = None
    statuses: list[str] = field(default_factory=list)

    def configure(self, *more: str) -> Path:
        """Writes the config; a changed one for each call."""
        hooks = [
            f'[plugins.webhook.{name}]\nurl = "{hook.server.base}/{name}"\nevents = ["task_failed"]\n'
            for name, hook in (("a", self.first), ("b", self.second))
        ]
        tables = (
            f'[store]\nurl = "sqlite:///{self.folder / "store.db"}"\n',
            f'[agent]\nheartbeat_url = "{self.pings.base}/{UUID}"\nheartbeat_interval = "1s"\n',
            '[health]\nafter = "1s"\n',
            "[plugins.odd.it]\n",
            *hooks,
            *more,
        )
        return write_config(self.folder, self.raw.url, *tables, projects=("project-123", "project-456"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[AgentProcess]:
        environ = {"NOTIFY_SOCKET": str(self.folder / "notify")}
        async with open_agent("run", "config.toml", cwd=self.folder, environ=environ) as self.agent:
            yield self.agent
            self.agent.terminate()
            assert await self.agent.wait() == 0, self.agent.everything

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Returns status and JSON of a request to the control API; 0 while it does not answer."""
        endpoint = find_endpoint(control_file(self.folder / "config.toml"))
        if endpoint is None:
            return 0, {}
        headers = {"Authorization": f"Bearer {endpoint.token}"}
        async with HttpClient() as http:
            answer = await http.request("GET", endpoint.address + path, headers=headers, max_body=2**20)
        return answer.status, json.loads(answer.body)

    async def shows(self, *kinds: str) -> None:
        """Returns once everything that shows the health shows exactly these kinds of reasons."""
        state = "well" if not kinds else "failing" if {*kinds} & {*UNREADY_BY_DEFAULT} else "degraded"
        with trio.move_on_after(PATIENCE_S):
            await self._status_shows(state, set(kinds))
            await self._ready_shows(state)
            await self._systemd_shows(state)
            await self._heartbeat_shows(state)
            return
        assert self.agent is not None
        raise AssertionError(f"{kinds}: not shown\n{await self.get('/status')}\n{self.agent.everything}")

    async def _status_shows(self, state: str, kinds: set[str]) -> None:
        while True:
            health = (await self.get("/status"))[1].get("health") or {}
            if health.get("state") == state and {reason["id"] for reason in health["reasons"]} == kinds:
                assert all(re.match(r"20\d\d-", reason["since"]) for reason in health["reasons"])
                return
            await trio.sleep(POLL_S)

    async def _ready_shows(self, state: str) -> None:
        status, answer = await self.get("/readyz")
        assert (status, answer["ok"]) == ((503, False) if state == "failing" else (200, True)), answer

    async def _systemd_shows(self, state: str) -> None:
        while not self.statuses or not self.statuses[-1].startswith(f"STATUS={state}:"):
            self.statuses += [
                text
                for text in (await self.datagrams.recv(65536)).decode().splitlines()
                if text.startswith("STATUS=")
            ]

    async def _heartbeat_shows(self, state: str) -> None:
        expected = {"well": f"GET /{UUID}", "degraded": f"POST /{UUID}", "failing": f"POST /{UUID}/fail"}[state]
        before = len(self.pings.requests)
        await self.pings.wait_until(
            lambda: any(f"{ping.method} {ping.path}" == expected for ping in self.pings.requests[before:])
        )

    async def logged(self, text: str, kind: str) -> None:
        """Returns once the log has this line about this kind of reason."""
        assert self.agent is not None
        with trio.fail_after(PATIENCE_S):
            lines = self.agent.stderr
            while not any(text in line and f'"kind": "{kind}"' in line for line in lines):  # noqa: ASYNC110
                await trio.sleep(POLL_S)  # the log of a process is a pipe

    async def wait_for_notice(self, hook: Hook, event_type: str, kind: str) -> None:
        """Returns once the receiver has this notice."""
        with trio.fail_after(PATIENCE_S):
            await hook.server.wait_until(lambda: kind in hook.kinds(event_type))

    async def post(self, path: str, body: object) -> None:
        endpoint = find_endpoint(control_file(self.folder / "config.toml"))
        assert endpoint is not None
        headers = {"Authorization": f"Bearer {endpoint.token}"}
        async with HttpClient() as http:
            answer = await http.request("POST", endpoint.address + path, headers=headers, json=body)
        assert answer.status == 200, answer.body

    async def reload(self) -> None:
        """Reloads the config. Returns once it was taken or refused."""
        assert self.agent is not None
        count = sum("reload" in line for line in self.agent.stderr)
        self.agent.reload()
        await self.agent.wait_for_log("reload", times=count + 1)

    async def block_the_loop(self, scope: trio.CancelScope) -> None:
        """Has the odd plugin block the agent again and again until the scope is cancelled."""
        with scope:
            for number in itertools.count():
                await self.raw.open_sockets[0].send_event("task_started", taskId=f"slow{number}")
                await trio.sleep(4)

    async def fail(self, task: str) -> None:
        await self.raw.open_sockets[0].send_event("task_failed", taskId=task, error="boom")


@pytest.fixture
async def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Station]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "odd.py").write_text(ODD_PLUGIN, encoding="utf-8")
    with closing(bound_socket(str(tmp_path / "notify"))) as bound:
        async with open_raw_orchestrator() as raw, open_server() as pings, open_server() as a, open_server() as b:
            pings.respond = lambda _request: Reply(200, b"OK")
            datagrams = trio.socket.from_stdlib_socket(bound)
            yield Station(tmp_path, raw, pings, Hook(a), Hook(b), datagrams)


@asynccontextmanager
async def trouble(
    station: Station, kind: str, *, is_notified: bool = True, beside: tuple[str, ...] = ()
) -> AsyncIterator[None]:
    """The caller began this trouble, and ends it within the block: checks that all learn of both."""
    await station.shows(kind, *beside)
    await station.logged("the agent is not well", kind)
    if is_notified:
        await station.wait_for_notice(station.first, "agent_degraded", kind)
    yield
    await station.shows()
    await station.logged("trouble is over", kind)
    if is_notified:
        await station.wait_for_notice(station.first, "agent_recovered", kind)


async def test_each_way_alone(station: Station) -> None:
    station.configure()
    raw = station.raw
    async with station.running() as agent:
        await station.shows()

        raw.upgrades_by_project["project-456"] = Refuse(503)
        await next(socket for socket in raw.open_sockets if socket.project_id == "project-456").drop()
        async with trouble(station, "link"):
            raw.upgrades_by_project.clear()

        await raw.go_away()
        async with trouble(station, "orchestrator"):
            raw.come_back()

        raw.default_upgrade = Refuse(401)
        raw.rest["POST /api/auth/login"] = raw.rest["POST /api/auth/refresh"] = RestAnswer({"error": "no"}, 401)
        for socket in raw.open_sockets:
            await socket.close(4401)
        async with trouble(station, "login", is_notified=False):
            raw.rest.clear()
            raw.default_upgrade = Accept()
        await station.wait_for_notice(station.first, "agent_recovered", "login")

        station.second.status = 503
        await station.fail("t1")
        async with trouble(station, "destination"):
            station.second.status = 204
            await station.post("/destinations/resume", {"names": ["webhook.b"]})
        assert "destination" not in station.second.kinds("agent_degraded")

        station.second.refused_types = {"task_failed"}
        await station.fail("t2")
        async with trouble(station, "given_up"):
            station.second.refused_types = set()
            await station.post("/deliveries/retry", {"destination": "webhook.b", "state": "dead"})

        config = station.configure("[[rules]]\n")
        await station.reload()
        async with trouble(station, "reload"):
            station.configure()
            await station.reload()

        config = station.configure('[[projects]]\nid = "none-*"\n')
        await station.reload()
        async with trouble(station, "nothing_watched"):
            station.configure()
            await station.reload()

        (station.folder / "odd.broken").touch()
        config.write_text(config.read_text(encoding="utf-8").replace("odd.it", "odd.other"), encoding="utf-8")
        await station.reload()
        async with trouble(station, "plugin", is_notified=False):
            (station.folder / "odd.broken").unlink()
            await station.reload()
        await station.wait_for_notice(station.first, "agent_recovered", "plugin")

        blocking = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(station.block_the_loop, blocking)
            async with trouble(station, "loop"):
                blocking.cancel()

        station.first.status = station.second.status = 503
        await station.fail("t4")
        async with trouble(station, "no_destination", is_notified=False, beside=("destination",)):
            station.first.status = station.second.status = 204
            await station.post("/destinations/resume", {"names": ["webhook.a", "webhook.b"]})

        (station.folder / "store.db").rename(station.folder / "away.db")
        async with trouble(station, "store", is_notified=False):
            (station.folder / "away.db").rename(station.folder / "store.db")
        assert "Traceback" not in agent.everything


async def test_together_and_over_restart_and_reload(station: Station) -> None:
    station.configure()
    raw = station.raw
    async with station.running():
        await station.shows()
        raw.upgrades_by_project["project-456"] = Refuse(503)
        await next(socket for socket in raw.open_sockets if socket.project_id == "project-456").drop()
        await station.post("/destinations/pause", {"names": ["webhook.b"]})
        station.configure("[[rules]]\n")
        await station.reload()
        await station.shows("link", "destination", "reload")
        for kind in ("link", "destination", "reload"):
            await station.wait_for_notice(station.first, "agent_degraded", kind)
        station.configure('[[projects]]\nid = "none-*"\n')
        await station.reload()
        await station.shows("link", "destination", "nothing_watched")
        await station.wait_for_notice(station.first, "agent_recovered", "reload")
        await station.wait_for_notice(station.first, "agent_degraded", "nothing_watched")
    begun = station.first.kinds("agent_degraded")
    async with station.running():
        await station.shows("link", "destination", "nothing_watched")
        await station.shows("link", "destination", "nothing_watched")
        assert station.first.kinds("agent_degraded") == begun, "a restart repeats no notice"
        await station.post("/destinations/resume", {"names": ["webhook.b"]})
        raw.upgrades_by_project.clear()
        station.configure()
        await station.reload()
        await station.shows()
        for kind in ("link", "destination", "nothing_watched"):
            await station.wait_for_notice(station.first, "agent_recovered", kind)
    ends = [event for event in station.first.notices if event["type"] == "agent_recovered"]
    assert sorted(event["kind"] for event in ends) == sorted(begun)
    assert all(event["recipients"] for event in ends)


async def test_an_agent_that_never_gets_in_never_looks_well(station: Station) -> None:
    station.configure()
    station.raw.rest["POST /api/auth/login"] = RestAnswer({"success": False, "error": "wrong password"}, 401)
    async with station.running() as agent:
        while (answer := await station.get("/readyz"))[0] == 0:  # noqa: ASYNC110
            await trio.sleep(POLL_S)  # the control file appears
        assert answer[0] == 503
        await station.shows("login")
        assert {project["id"] for project in (await station.get("/status"))[1]["projects"]} == {
            "project-123",
            "project-456",
        }
        assert "Traceback" not in agent.everything
    paths = [ping.path for ping in station.pings.requests]
    assert paths[0] == f"/{UUID}/start"
    assert f"/{UUID}" not in paths
