"""Faults of the official SDK (``faults.toml``), which this library does not have."""

import base64
import json
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from aintandem_notify import AInTandemClient
from aintandem_notify.config import ProjectConfig
from aintandem_notify.errors import LinkGivenUp, LinkRefused, ServerTrouble
from aintandem_notify.simulator.simulation import Simulator
from support.raw_http import RestAnswer
from support.raw_orchestrator import Accept, RawOrchestrator, Refuse, event_text, frame, open_raw_orchestrator
from support.sdk import Sdk, SdkError, callback, logged_in, open_sdk
from support.watching import watching

HERE = Path(__file__).parent
FAULTS = tomllib.loads((HERE / "faults.toml").read_text(encoding="utf-8"))
DIFFERENCES = tomllib.loads((HERE / "differences.toml").read_text(encoding="utf-8"))
PAGE = (HERE.parents[1] / "docs" / "conformance.md").read_text(encoding="utf-8")
P = "project-123"
OURS = ProjectConfig(id=P)


def test_every_fault_has_its_test() -> None:
    assert {f"test_it_{name}" for name in FAULTS} == {name for name in globals() if name.startswith("test_it_")}


@pytest.mark.parametrize(("name", "entry"), [*FAULTS.items(), *DIFFERENCES.items()])
def test_the_page_tells_of_it(name: str, entry: dict[str, str]) -> None:
    assert f"| `{name}` | {entry['sdk']} | {entry['ours']} |" in PAGE


@asynccontextmanager
async def our_client(url: str, **settings: Any) -> AsyncIterator[AInTandemClient]:
    """A client of this library, logged in."""
    with trio.fail_after(300):
        async with AInTandemClient(url, **settings) as client:
            await client.auth.login("admin", "admin123")
            yield client


class Heard:
    """A callback for this library that collects its arguments."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self._news = trio.Event()

    def __call__(self, value: Any) -> None:
        self.given.append(value)
        self._news.set()
        self._news = trio.Event()

    @property
    def types(self) -> list[str]:
        return [value.type for value in self.given]

    async def more(self) -> None:
        await self._news.wait()

    async def until(self, event_type: str) -> None:
        while event_type not in self.types:
            await self.more()


async def subscribe(sdk: Sdk, name: str = "all") -> None:
    await sdk.call("getProgress()", "subscribeToProgress", given=(P, callback(name)))


async def test_it_loses_task_events() -> None:
    kinds = ["task_started", "step_progress", "output", "artifact", "task_completed"]
    fields = {"taskId": "t", "status": "running", "output": "x", "artifact": {"path": "p", "type": "t"}}
    ours = Heard()
    async with open_raw_orchestrator() as raw, logged_in(raw.url) as sdk, our_client(raw.url) as client:
        await sdk.call("subscribeToTask", given=(P, "t", callback("task")))
        await client.subscribe_to_task(P, "t", ours)
        for socket in [await raw.connections.receive() for _ in range(2)]:
            for kind in kinds:
                await socket.send_event(kind, **fields)
        await sdk.until(lambda: "task_completed" in sdk.types("task"))
        await ours.until("task_completed")
    assert sdk.types("task") == ["task_started", "task_completed"]
    assert ours.types == kinds


async def test_it_loses_the_first_events() -> None:
    first = b"".join(frame(event_text("task_started", P, taskId="t", task=str(n))) for n in range(3))
    async with open_raw_orchestrator(default_upgrade=Accept(then=first)) as raw, logged_in(raw.url) as sdk:
        await subscribe(sdk)
        await (await raw.connections.receive()).send_event("task_completed", taskId="t")
        await sdk.until(lambda: "task_completed" in sdk.types("all"))
        async with our_client(raw.url) as client:
            ours = Heard()
            await client.progress.subscribe_to_progress(P, ours)
            await (await raw.connections.receive()).send_event("task_completed", taskId="t")
            await ours.until("task_completed")
    assert sdk.types("all") == ["task_completed"]
    assert [event.task for event in ours.given] == ["0", "1", "2", None]


async def test_it_says_connected_when_refused() -> None:
    async with open_raw_orchestrator(default_upgrade=Refuse(403)) as raw, logged_in(raw.url) as sdk:
        await subscribe(sdk)  # without an error
        assert await sdk.call("getProgress()", "isConnected", given=(P,)) is False
        async with our_client(raw.url) as client:
            with pytest.raises(LinkRefused):
                await client.progress.connect(P)
            with pytest.raises(LinkRefused):
                await client.progress.subscribe_to_progress(P, print)
            assert not client.progress.is_connected(P)


async def test_it_redials_without_end() -> None:
    async with open_raw_orchestrator(default_upgrade=Refuse(503)) as raw, logged_in(raw.url) as sdk:
        await subscribe(sdk)
        await sdk.until(lambda: sdk.timers.count(1000) > 15)
        assert "Max reconnection attempts" not in sdk.reports
        assert "attempt 2/10" not in sdk.reports
        await sdk.call("getProgress()", "disconnectAll")
    async with (
        open_raw_orchestrator(default_upgrade=Refuse(503)) as raw,
        our_client(raw.url, reconnect_initial_delay=1e-4) as client,
    ):
        with pytest.raises(LinkGivenUp):
            await client.progress.subscribe_to_progress(P, print)
        assert client.progress.get_connection_state(P) == "disconnected"
    assert len(raw.upgrades) == 1 + 10


async def test_it_never_misses_a_pong() -> None:
    async with open_raw_orchestrator() as raw, logged_in(raw.url, faster=3000) as sdk:
        await subscribe(sdk)
        socket = await raw.connections.receive()
        socket.fall_silent()
        while len(socket.received) < 20:  # pings
            await socket.receive()
        assert await sdk.call("getProgress()", "isConnected", given=(P,)) is True
        async with watching(raw, OURS, heartbeat_interval=0.1) as (_, journal):
            (await raw.connections.receive()).fall_silent()
            await journal.until(P, "connection_disconnected")


async def test_it_reuses_the_first_token() -> None:
    async with open_raw_orchestrator() as raw, logged_in(raw.url) as sdk:
        await subscribe(sdk)
        first = await raw.connections.receive()
        await sdk.call("auth", "refresh")
        await first.close(1012)
        await (await raw.connections.receive()).close(4401)
        await raw.connections.receive()
        assert [upgrade.query["token"] for upgrade in raw.upgrades] == [first.token] * 3
        assert first.token != await sdk.call("auth", "getToken")
    async with open_raw_orchestrator() as raw, watching(raw, OURS):
        old = await raw.connections.receive()
        await old.close(4401)
        new = await raw.connections.receive()
        assert old.token != new.token


async def test_it_prints_the_token(capfd: pytest.CaptureFixture[str]) -> None:
    async with open_raw_orchestrator(default_upgrade=Refuse(503)) as raw, logged_in(raw.url) as sdk:
        await subscribe(sdk)
        token = raw.upgrades[0].query["token"]
        await sdk.until(lambda: token in sdk.reports)
    async with open_raw_orchestrator(default_upgrade=Refuse(503)) as raw, watching(raw, OURS) as (_, journal):
        await journal.until(P, "connection_error")
    output = "".join([*capfd.readouterr(), *(event.wire_json for _, event in journal.events)])
    assert "cannot connect" in output
    assert raw.upgrades[0].query["token"] not in output


async def test_it_forgets_early_listeners() -> None:
    async with open_raw_orchestrator() as raw, logged_in(raw.url) as sdk:
        await sdk.call("getProgress()", "onConnectionState", given=(P, callback("early")))
        await sdk.call("getProgress()", "connect", given=(P,))
        await sdk.call("getProgress()", "onConnectionState", given=(P, callback("late")))
        await (await raw.connections.receive()).close(1012)
        await sdk.until(lambda: sdk.types("late") == ["disconnected", "connected"])
        await raw.connections.receive()
        assert sdk.heard["early"] == []
        async with our_client(raw.url, reconnect_initial_delay=1e-4) as client:
            ours = Heard()
            client.progress.on_connection_state(P, ours)
            await client.progress.connect(P)
            await (await raw.connections.receive()).close(1012)
            await raw.connections.receive()
            while len(ours.given) < 3:
                await ours.more()
            assert ours.types == ["connected", "disconnected", "connected"]


async def test_it_says_goodbye_twice() -> None:
    async with open_raw_orchestrator() as raw, logged_in(raw.url) as sdk:
        await sdk.call("getProgress()", "connect", given=(P,))
        await sdk.call("getProgress()", "onConnectionState", given=(P, callback("state")))
        await sdk.call("getProgress()", "disconnect", given=(P,))
        await sdk.until(lambda: sdk.types("state") == ["disconnected", "disconnected"])
        async with our_client(raw.url) as client:
            ours = Heard()
            client.progress.on_connection_state(P, ours)
            await client.progress.connect(P)
            await client.progress.disconnect(P)
    assert ours.types == ["connected", "disconnecting", "disconnected"]
    assert (ours.given[2].code, ours.given[2].will_reconnect) == (1000, False)


async def test_it_keeps_the_session(simulator: Simulator) -> None:
    async with logged_in(simulator.url) as sdk, our_client(simulator.url) as client:
        theirs = await sdk.call("auth", "getToken")
        await sdk.call("auth", "logout")
        ours = await client.auth.token()
        await client.auth.logout()
    assert simulator.tokens.user_of(theirs) == "admin"
    assert simulator.tokens.user_of(ours) is None


async def refreshes_without_end(lifetime: float) -> None:
    async with open_raw_orchestrator(token_lifetime=lifetime) as raw, logged_in(raw.url, faster=1):
        while len(raw.refreshes) < 5:  # noqa: ASYNC110  # by another process
            await trio.sleep(0.01)
    async with open_raw_orchestrator(token_lifetime=lifetime) as raw, watching(raw, OURS) as (_, journal):
        await journal.until(P, "connection_connected")
        assert (len(raw.logins), raw.refreshes) == (1, [])


async def test_it_refreshes_short_tokens_without_end() -> None:
    await refreshes_without_end(60.0)


async def test_it_refreshes_long_tokens_without_end() -> None:
    await refreshes_without_end(30 * 86_400.0)


async def test_it_throws_good_tokens_away() -> None:
    claims = json.dumps({"sub": "who?>~", "exp": int(time.time()) + 3600}).encode()
    payload = base64.urlsafe_b64encode(claims).decode().rstrip("=")
    assert set("-_") & set(payload)
    token = f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2ln"
    login = {"POST /auth/login": {"success": True, "token": token}}
    login |= {"POST /api/auth/login": {"success": True, "token": token}}
    async with open_raw_orchestrator(rest=login) as raw, open_sdk(raw.url) as sdk:
        answer = await sdk.call("auth", "login", given=({"username": "who?>~", "password": "x"},))
        assert answer["token"] == token
        assert await sdk.call("auth", "isAuthenticated") is False
        assert await sdk.call("auth", "getToken") is None
        async with watching(raw, OURS):
            assert (await raw.connections.receive()).token == token


async def test_it_runs_a_task_twice() -> None:
    def submissions(raw: RawOrchestrator) -> int:
        return [request.path for request in raw.requests].count(f"/api/projects/{P}/tasks")

    rest = {f"POST /api/projects/{P}/tasks": RestAnswer({"error": "lost the answer"}, 502)}
    async with open_raw_orchestrator(rest=rest) as raw, logged_in(f"{raw.url}/api") as sdk:
        with pytest.raises(SdkError, match="502"):
            await sdk.call("tasks", "executeTask", given=(P, {"task": "pay the bill"}))
        assert submissions(raw) == 4
    async with open_raw_orchestrator(rest=rest) as raw, our_client(raw.url) as client:
        with pytest.raises(ServerTrouble):
            await client.tasks.execute_task(P, "pay the bill")
        assert submissions(raw) == 1


async def test_it_does_not_quote_ids() -> None:
    odd = "team/a?b"
    async with open_raw_orchestrator() as raw, logged_in(raw.url) as sdk:
        await sdk.call("getProgress()", "connect", given=(odd,))
        assert (await raw.connections.receive()).project_id == "team/a"
        async with our_client(raw.url) as client:
            await client.progress.connect(odd)
            assert (await raw.connections.receive()).project_id == odd


async def test_it_one_bad_callback_silences_another() -> None:
    async with open_raw_orchestrator() as raw, logged_in(raw.url) as sdk:
        await sdk.call("subscribeToTask", given=(P, "t", callback("event", raises=True), callback("done")))
        socket = await raw.connections.receive()
        for _ in range(2):
            await socket.send_event("task_completed", taskId="t")
        await sdk.until(lambda: len(sdk.heard["event"]) == 2)
        assert sdk.heard["done"] == []
        async with our_client(raw.url, on_error=lambda error, value: None) as client:
            done = Heard()
            await client.subscribe_to_task(P, "t", callback_that_raises, done)
            await (await raw.connections.receive()).send_event("task_completed", taskId="t")
            await done.until("task_completed")


def callback_that_raises(event: object) -> None:
    raise RuntimeError("a callback that raises")
