"""The health and the status that the control API shows."""

import json
import os
from dataclasses import replace

import pytest

from aintandem_notify.domain.health import Health, HealthState, Reason, ReasonId
from aintandem_notify.errors import RetryLater
from aintandem_notify.orchestrator import ConnectionState, UnwatchedProjects
from support.commands import run_command
from support.control import DESTINATION, Scene, project, queue
from support.outbox import NOW

REFUSED = Reason(ReasonId.LOGIN, "the orchestrator refuses the login: wrong password of admin", NOW)
LOST = Reason(ReasonId.LINK, "project p has no link: connection refused", NOW, "p")


async def test_ready_means_neither_failing_nor_starting(scene: Scene) -> None:
    scene.health = Health(HealthState.DEGRADED, (LOST,))
    assert await scene.request("GET", "/readyz", token=None) == (
        200,
        {"ok": True, "health": "degraded: link", "reason": None},
    )
    scene.health = Health(HealthState.FAILING, (REFUSED, LOST))
    assert (await scene.request("GET", "/readyz", token=None))[0] == 503
    assert (await scene.request("GET", "/healthz", token=None))[0] == 200
    scene.health = Health(HealthState.DEGRADED, (Reason(ReasonId.STARTING, "not connected yet", NOW),))
    assert (await scene.request("GET", "/readyz", token=None))[1]["health"] == "degraded: starting"
    scene.phase = "stopping"
    assert (await scene.request("GET", "/readyz", token=None))[1]["health"] == "the agent is stopping"


async def test_only_who_has_the_token_learns_the_reasons(scene: Scene) -> None:
    scene.health = Health(HealthState.FAILING, (REFUSED, LOST, LOST))
    kinds = (await scene.request("GET", "/readyz", token=None))[1]["health"]
    assert kinds == "failing: login, link"
    assert (await scene.request("GET", "/readyz", token="guessed"))[1]["health"] == kinds
    details = f"failing: {REFUSED.text}; {LOST.text}; {LOST.text}"
    assert (await scene.request("GET", "/readyz"))[1]["health"] == details
    environ = {"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]}
    ended = await run_command("status", "--ready", cwd=scene.config.parent, environ=environ)
    assert (ended.code, ended.err.strip()) == (1, details)


async def test_status_shows_the_health_with_its_reasons(scene: Scene) -> None:
    assert (await scene.request("GET", "/status"))[1]["health"] == {"state": "well", "ready": True, "reasons": []}
    scene.health = Health(HealthState.FAILING, (REFUSED, LOST))
    status = (await scene.request("GET", "/status"))[1]
    assert status["trouble"] == f"failing: {REFUSED.text}; {LOST.text}"
    since = "2026-01-01T00:00:00Z"
    assert status["health"] == {
        "state": "failing",
        "ready": False,
        "reasons": [
            {"id": "login", "subject": None, "text": REFUSED.text, "since": since},
            {"id": "link", "subject": "p", "text": LOST.text, "since": since},
        ],
    }
    scene.health = replace(scene.health, reasons=tuple(replace(LOST, text=f"p{number}") for number in range(22)))
    environ = {"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]}
    lines = (await run_command("status", cwd=scene.config.parent, environ=environ)).out.splitlines()
    assert lines[1] == "failing"
    assert lines[2].startswith("  p0 (link, ")
    assert lines[22] == "  and 2 more; --json lists all"


async def test_projects_that_no_agent_has_a_place_for_are_counted(scene: Scene) -> None:
    assert (await scene.request("GET", "/status"))[1]["unwatched"] is None
    scene.unwatched = UnwatchedProjects(31, NOW)
    status = (await scene.request("GET", "/status"))[1]
    assert status["unwatched"]["projects"] == 31
    environ = {"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]}
    detail = (await run_command("status", cwd=scene.config.parent, environ=environ)).out
    assert "31 of no agent  unwatched" in detail
    assert "every agent watches as many as its limit of open files allows" in detail


async def test_status_shows_everything(scene: Scene) -> None:
    scene.host.default = RetryLater("come back later")
    await queue(scene, "t1", "t2")
    while not (status := (await scene.request("GET", "/status"))[1])["destinations"][0]["last_error"]:
        pass
    assert status["agent"]["version"] == "1.2.3"
    assert status["agent"]["state"] == "running"
    assert status["agent"]["address"] == scene.whereabouts().address
    assert status["trouble"] is None
    assert [(entry["id"], entry["name"], entry["state"]) for entry in status["projects"]] == [
        ("p", "P", "connected")
    ]
    assert [(entry["name"], entry["state"]) for entry in status["plugins"]] == [(DESTINATION, "loaded")]
    (destination,) = status["destinations"]
    assert destination["state"] == "backing off"
    assert destination["queued"] == 2
    assert destination["last_error"] == "come back later"
    assert status["store"] == {"name": scene.storage.name, "trouble": None}
    assert scene.whereabouts().token not in str(status)


@pytest.mark.parametrize(("connected", "listed_count"), [(19, 20), (20, 2)])
async def test_of_many_projects_the_command_lists_those_that_are_not_connected(
    scene: Scene, connected: int, listed_count: int
) -> None:
    well = [project(f"well{number}") for number in range(connected)]
    scene.projects = [*well, project("lost", ConnectionState.RECONNECTING)]
    folder, environ = scene.config.parent, {"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]}
    done = await run_command("status", cwd=folder, environ=environ)
    rows = done.out.partition("\nProjects\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert len(rows) == listed_count
    assert rows[0].split()[:3] == ["LOST", "(lost)", "reconnecting"]
    assert (rows[-1].split() == ["20", "more", "connected"]) is (listed_count == 2)
    everything = await run_command("status", "--json", cwd=folder, environ=environ)
    assert len(json.loads(everything.out)["projects"]) == connected + 1
