"""The whole orchestrator package over real sockets: sessions, links and projects together."""

from contextlib import suppress

import trio
import trio.testing
from structlog.testing import capture_logs

from aintandem_notify.config import ConnectionConfig, ProjectConfig
from support.raw_orchestrator import Refuse, RestAnswer, open_raw_orchestrator
from support.watching import arrivals, watching

A, B = ProjectConfig(id="a", name="A"), ProjectConfig(id="b", name="B")


async def test_two_projects_side_by_side() -> None:
    async with open_raw_orchestrator() as raw, watching(raw, A, B) as (_, journal):
        sockets = await arrivals(raw, 2)
        await sockets["a"].send_event("task_failed", taskId="1", error="boom")
        await sockets["b"].send_event("sandbox_started", sandboxId="2")
        await journal.until("a", "task_failed")
        await journal.until("b", "sandbox_started")
        assert len(raw.logins) == 1, "one login for all"


async def test_a_cut_of_one_is_none_of_the_other() -> None:
    async with open_raw_orchestrator() as raw, watching(raw, A, B) as (_, journal):
        sockets = await arrivals(raw, 2)
        await sockets["a"].reset()
        await journal.until("a", "connection_connected", 2)
        again = await arrivals(raw, 1)
        await again["a"].send_event("task_started", taskId="1")
        await journal.until("a", "task_started")
        assert journal.of("a") == [
            "connection_connected",
            "connection_disconnected",
            "connection_connected",
            "task_started",
        ]
        assert journal.of("b") == ["connection_connected"]


async def test_a_token_that_is_refused_mid_connection() -> None:
    async with open_raw_orchestrator() as raw, watching(raw, A) as (_, journal):
        socket = (await arrivals(raw, 1))["a"]
        await socket.close(4401)
        again = (await arrivals(raw, 1))["a"]
        assert again.token != socket.token
        assert (len(raw.logins), len(raw.refreshes)) == (1, 1)
        await journal.until("a", "connection_connected", 2)
        assert "connection_error" not in journal.of("a")


async def test_garbage_does_not_cost_the_connection() -> None:
    async with open_raw_orchestrator() as raw, watching(raw, A) as (fleet, journal):
        socket = (await arrivals(raw, 1))["a"]
        for text in ("", "null", "[]", "{", '{"type": 5}', "NaN", "[" * 5000, '"\\ud800"', "9" * 5000):
            await socket.send_text(text)
        await socket.send_binary(b"\x00")
        await socket.send_event("task_started", projectId="another", taskId="1")
        await socket.send_event("invented", x=1)
        await socket.send_event("task_started", taskId="1")
        await journal.until("a", "task_started")
        status = fleet.snapshot()[0]
        assert journal.of("a") == ["connection_connected", "invented", "task_started"]
        assert status.frames == 13
        assert sum(status.flaws.values()) == 12
        assert status.flaws["unknown type"] == 1
        assert len(raw.sockets) == 1


async def test_many_projects_live_through_many_restarts_of_the_server() -> None:
    """No thundering herd at the login, and every project reconnects."""
    projects = [ProjectConfig(id=f"p{n}", name="x") for n in range(40)]
    async with open_raw_orchestrator() as raw, watching(raw, *projects, reconnect_max_delay=0.1) as (fleet, _):
        await arrivals(raw, 40)
        for _ in range(5):
            await raw.go_away()
            raw.come_back()
            await arrivals(raw, 40)
        assert len(raw.logins) == 1
        assert len(raw.open_sockets) == 40
        while {status.state.value for status in fleet.snapshot()} != {"connected"}:  # noqa: ASYNC110
            await trio.sleep(0.005)


async def test_an_upgrade_that_is_forbidden_leaves_the_others_alone() -> None:
    async with open_raw_orchestrator() as raw:
        raw.default_upgrade = Refuse(403)
        async with watching(raw, A, reconnect_initial_delay=60.0) as (fleet, journal):
            await journal.until("a", "connection_error")
            assert len(raw.upgrades) == 3, "as it is, refreshed, and logged in again"
            assert fleet.snapshot()[0].last_error == "the orchestrator refused the token (HTTP 403)"


async def test_a_project_that_is_given_up_is_logged_once() -> None:
    with capture_logs() as logs:
        async with (
            open_raw_orchestrator(default_upgrade=Refuse(503)) as raw,
            watching(raw, A, reconnect_attempts=0) as (_, journal),
        ):
            await journal.until("a", "connection_error")
            await trio.testing.wait_all_tasks_blocked()
    reported = [line for line in logs if line["log_level"] == "warning"]
    reason = "the orchestrator did not open a WebSocket (HTTP 503)"
    assert [(line["event"], line["project"], line["reason"]) for line in reported] == [
        ("the project is given up", "a", reason)
    ]


async def test_globs_and_reload() -> None:
    async with (
        open_raw_orchestrator(projects=["sales-1", "ops"]) as raw,
        watching(raw, ProjectConfig(id="sales-*")) as (fleet, journal),
    ):
        assert list(await arrivals(raw, 1)) == ["sales-1"]
        await journal.until("sales-1", "connection_connected")  # before that there is no connection to close
        await fleet.set_projects([A], ConnectionConfig())
        assert list(await arrivals(raw, 1)) == ["a"]
        await journal.until("a", "connection_connected")
        await raw.sockets[0].closed.wait()
        assert raw.sockets[0].close_code == 1000


async def test_a_name_that_cannot_be_stored_is_mended() -> None:
    async with open_raw_orchestrator() as raw:
        raw.rest["GET /api/projects"] = RestAnswer(b'[{"id": "ok", "name": "cut \\ud83d"}]')
        async with watching(raw, ProjectConfig(id="*")) as (fleet, _):
            await arrivals(raw, 1)
            assert [status.project.name for status in fleet.snapshot()] == ["cut \ufffd"]


async def test_a_token_that_ends_soon_is_replaced_in_time() -> None:
    async with open_raw_orchestrator(token_lifetime=1.0) as raw, watching(raw, A) as (_, journal):
        first = (await arrivals(raw, 1))["a"]
        second = (await arrivals(raw, 1))["a"]
        assert first.token != second.token
        await first.closed.wait()
        assert first.close_code == 1000
        assert journal.of("a") == ["connection_connected"]


async def test_nothing_is_missed_when_the_token_is_replaced() -> None:
    """A server that sends all the time to every open socket: each event arrives, in order."""
    sent = 0
    async with open_raw_orchestrator(token_lifetime=1.0) as raw, watching(raw, A) as (_, journal):
        await arrivals(raw, 1)
        # Not cancelled: that could leave a counted event unsent.
        while len(raw.sockets) < 3 or not raw.sockets[1].closed.is_set():
            sent += 1
            for socket in raw.open_sockets:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await socket.send_event("task_failed", taskId=f"t{sent}")
            await trio.sleep(0.001)
        await raw.open_sockets[-1].send_event("task_completed", taskId="last")
        await journal.until("a", "task_completed")
    arrived = [event.run_id for _, event in journal.events if event.type == "task_failed"]
    assert list(dict.fromkeys(arrived)) == [f"t{number}" for number in range(1, sent + 1)]
