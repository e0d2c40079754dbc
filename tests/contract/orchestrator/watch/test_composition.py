"""The whole orchestrator package over real sockets: sessions, links and projects together."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from aintandem_notify.config import ConnectionConfig, ProjectConfig
from aintandem_notify.orchestrator import ConnectionTrouble, Fleet
from support.nasty import orchestrator_http as nasty
from support.nasty.wire import Then
from support.raw_http import RestAnswer
from support.raw_orchestrator import Accept, Refuse, open_raw_orchestrator
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


def shown(fleet: Fleet) -> dict[str, tuple[ConnectionTrouble | None, str | None]]:
    return {status.project.id: (status.trouble, status.last_error) for status in fleet.snapshot()}


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize(
    ("rest", "trouble"),
    [
        ({}, ConnectionTrouble.GONE),
        ({"projects": [{"id": "a"}]}, ConnectionTrouble.LOST),
        ({"projects": RestAnswer(b"<h1>no</h1>", 404)}, ConnectionTrouble.GONE),
        ({"projects": RestAnswer(b"", 503)}, ConnectionTrouble.GONE),
        ({"projects/a": {"id": "a"}}, ConnectionTrouble.LOST),
        ({"projects/a": RestAnswer(b"<h1>no</h1>", 404)}, ConnectionTrouble.GONE),
        ({"projects/a": RestAnswer(b"<h1>no</h1>", 410)}, ConnectionTrouble.GONE),
        ({"projects/a": RestAnswer(b"<h1>no</h1>", 403)}, ConnectionTrouble.LOST),
        ({"projects/a": RestAnswer(b"", 302, {"Location": "about:blank"})}, ConnectionTrouble.LOST),
        ({"projects/a": None}, ConnectionTrouble.LOST),
        ({"projects": None, "projects/a": RestAnswer(b"page not found", 404)}, ConnectionTrouble.LOST),
        ({"projects": RestAnswer(b"", 404), "projects/a": RestAnswer(b"", 404)}, ConnectionTrouble.LOST),
        ({"projects": RestAnswer(b"", 404), "projects/a": RestAnswer(b"", 500)}, ConnectionTrouble.LOST),
    ],
)
async def test_a_project_is_gone_only_if_rest_agrees(
    status: int, rest: Mapping[str, Any], trouble: ConnectionTrouble
) -> None:
    async with open_raw_orchestrator(default_upgrade=Refuse(status), projects=["b"]) as raw:
        raw.rest |= {f"GET /api/{path}": answer for path, answer in rest.items()}
        async with watching(raw, A, reconnect_initial_delay=60.0) as (fleet, journal):
            await journal.until("a", "connection_error")
            assert [known for known, _ in shown(fleet).values()] == [trouble]
            asked = [request.path for request in raw.requests if "/projects" in request.path]
            assert asked in (["/api/projects"], ["/api/projects", "/api/projects/a"])


async def test_a_project_that_rest_knows_again_is_gone_no_longer() -> None:
    async with (
        open_raw_orchestrator(default_upgrade=Refuse(404), projects=[]) as raw,
        watching(raw, A) as (fleet, journal),
    ):
        await journal.until("a", "connection_error")
        assert fleet.snapshot()[0].gone
        raw.projects.append("a")
        await journal.until("a", "connection_error", 2)
        assert not fleet.snapshot()[0].gone
        raw.default_upgrade = Accept()
        await journal.until("a", "connection_connected")


async def test_many_projects_behind_a_proxy_without_upgrades_share_the_list() -> None:
    projects = [ProjectConfig(id=f"p{n}", name="x") for n in range(150)]
    ids = [project.id for project in projects]
    async with (
        open_raw_orchestrator(default_upgrade=Refuse(404), projects=ids) as raw,
        watching(raw, *projects, reconnect_initial_delay=60.0) as (fleet, journal),
    ):
        for project_id in ids:
            await journal.until(project_id, "connection_error")
        assert {trouble for trouble, _ in shown(fleet).values()} == {ConnectionTrouble.LOST}
        assert len([request for request in raw.requests if "/projects" in request.path]) < 20


async def test_an_answer_that_is_no_list_lets_nobody_go() -> None:
    answers = {name: answer for name, answer in nasty.NO_PROJECTS.items() if answer.then is Then.KEEP}
    async with (
        open_raw_orchestrator(projects=["a1", "a2", "b"]) as raw,
        watching(raw, ProjectConfig(id="a*"), discover_interval=0.01) as (fleet, _),
    ):
        await arrivals(raw, 2)
        for name, answer in answers.items():
            raw.rest["GET /api/projects"] = nasty.named_rows(answer, "projects")
            lists = len(raw.requests)
            while len(raw.requests) < lists + 4:  # noqa: ASYNC110
                await trio.sleep(0.005)
            assert fleet.discovery().trouble is not None, name
            assert sorted(shown(fleet)) == ["a1", "a2"], name
            assert len(raw.open_sockets) == 2, name
        raw.rest["GET /api/projects"] = nasty.named_rows(nasty.EMPTY_LISTS["by name"], "projects")
        while fleet.snapshot():  # noqa: ASYNC110
            await trio.sleep(0.005)
        assert list(fleet.discovery().idle_globs) == ["a*"]


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
