"""Every endpoint of the control API and every error, over real sockets."""

import json
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from aintandem_notify.control.client import remote_backend
from aintandem_notify.control.client.backend import reload_agent
from aintandem_notify.control.deliveries import MAX_BATCH
from aintandem_notify.control.discovery import control_file, find_endpoint
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.server.request_parsing import MAX_BODY_BYTES
from aintandem_notify.domain.health import Health, HealthState, Reason, ReasonId
from aintandem_notify.domain.reload import ReloadAbandonedError, ReloadResult
from aintandem_notify.errors import PluginError, Problem, RetryLater
from aintandem_notify.foundation.http_server import server
from aintandem_notify.orchestrator import ConnectionState, UnwatchedProjects
from aintandem_notify.store import DeliveryState, Settlement
from support.commands import run_command
from support.control import DESTINATION, Scene, open_scene, project
from support.outbox import NOW, FakeHost, claim_all, event, inside, queue_up

DEAD, QUEUED = "dead", "queued"


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


async def queue(scene: Scene, *runs: str, destination: str = DESTINATION) -> None:
    """Queues a delivery for each run and wakes the worker."""
    await scene.storage.run(queue_up([event("task_failed", run) for run in runs], (destination,)))
    scene.dispatcher.wake([destination])


async def listed(scene: Scene, query: str = "") -> list[dict[str, Any]]:
    status, page = await scene.request("GET", f"/deliveries{query}")
    assert status == 200, page
    code: list[dict[str, Any]] = page["deliveries"]
    return code


async def until(scene: Scene, run: str, state: str) -> dict[str, Any]:
    """Returns the delivery about the run once it is in this state."""
    with trio.fail_after(30):
        while True:
            for entry in await listed(scene):
                if entry["title"] == f"task_failed {run}" and entry["state"] == state:
                    return entry


async def refused(scene: Scene, runs: int = 1) -> list[dict[str, Any]]:
    """Stores ``count`` dead deliveries without a try."""
    names = [f"dead{number}" for number in range(runs)]
    await scene.storage.run(queue_up([event("task_failed", name) for name in names], (DESTINATION,)))
    claims = await scene.storage.run(claim_all(DESTINATION))
    ends = [Settlement(claim, DeliveryState.DEAD, NOW, NOW, attempts=2, reason="never") for claim in claims]
    await scene.storage.run(inside(lambda store: store.outbox.settle(ends)))
    return [await until(scene, name, DEAD) for name in names]


async def test_it_is_there_for_as_long_as_the_agent(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        assert (await scene.request("GET", "/healthz", token=None)) == (
            200,
            {"ok": True, "health": "well", "reason": None},
        )
        config = scene.config
    assert find_endpoint(control_file(config)) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/status"),
        ("GET", f"/plugins/{DESTINATION}"),
        ("GET", "/destinations"),
        ("GET", "/deliveries"),
        ("GET", "/deliveries/1"),
        ("POST", "/deliveries/retry"),
        ("POST", "/deliveries/drop"),
        ("POST", "/destinations/pause"),
        ("POST", "/destinations/resume"),
        ("POST", "/reload"),
        ("GET", "/nothing"),
    ],
)
async def test_all_but_health_needs_the_token_and_the_right_host(scene: Scene, method: str, path: str) -> None:
    for token in (None, "nonsense"):
        status, answer = await scene.request(method, path, {}, token=token)
        assert (status, set(answer)) == (401, {"error"})
    status, answer = await scene.request(method, path, {}, headers={"Host": "evil.example"})
    assert (status, set(answer)) == (403, {"error"})
    if method == "POST":
        for origin in ("https://evil.example", "http://localhost:3000"):
            status, answer = await scene.request(method, path, {}, headers={"Origin": origin})
            assert (status, set(answer)) == (403, {"error"})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_needs_no_token_but_the_right_host(scene: Scene, path: str) -> None:
    assert (await scene.request("GET", path, token=None))[0] == 200
    assert (await scene.request("GET", path, token=None, headers={"Host": "evil.example"}))[0] == 403


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


async def test_deliveries_are_listed_by_destination_state_and_time_in_pages(scene: Scene) -> None:
    await queue(scene, "t1", "t2", "t3", destination="slack.other")
    (dead,) = await refused(scene)
    assert [entry["id"] for entry in await listed(scene)] == [4, 3, 2, 1]
    assert [entry["id"] for entry in await listed(scene, "?destination=slack.other")] == [3, 2, 1]
    assert [entry["id"] for entry in await listed(scene, "?state=dead,delivered")] == [dead["id"]]
    assert await listed(scene, "?since=2026-01-01T00:00:01Z") == []
    assert len(await listed(scene, "?until=2026-01-01T00:00:01")) == 4
    status, page = await scene.request("GET", "/deliveries?limit=3")
    assert (status, page["next"]) == (200, 2)
    status, page = await scene.request("GET", f"/deliveries?limit=3&before={page['next']}")
    assert ([entry["id"] for entry in page["deliveries"]], page["next"]) == ([1], None)
    assert dead["reason"] == "never"
    assert dead["severity"] == "error"
    assert dead["project"] == "Sales"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("state=lost", "state should be queued"),
        ("since=yesterday", "since should be a time"),
        ("until=0001-01-01T00:00:00%2B14:00", "until should be a time"),
        ("limit=0", "limit should be 1 to 200"),
        ("limit=201", "limit should be 1 to 200"),
        ("limit=many", "limit should be a whole number"),
        ("before=-1", "before should be a whole number"),
        ("before=1111111111111111111", "before should be a whole number"),
        ("limit=", "limit should be a whole number"),
        ("destination=", "destination is empty"),
        ("project=", "project is empty"),
        ("task=", "task is empty"),
        ("state=", "state is empty"),
        ("state=dead,", "state should be queued"),
        ("since=", "since is empty"),
        ("sate=dead", "unknown: sate; /deliveries accepts before, destination, limit, project, since, state"),
        ("state=dead&state=queued", "state: given twice"),
    ],
)
async def test_a_wrong_filter_is_a_sentence(scene: Scene, query: str, sentence: str) -> None:
    status, answer = await scene.request("GET", f"/deliveries?{query}")
    assert status == 400
    assert answer["error"].startswith(sentence)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/status"), ("GET", "/deliveries/1"), ("POST", "/deliveries/drop"), ("POST", "/deliveries/retry")],
)
async def test_a_filter_in_the_query_of_what_takes_none_is_no_filter(scene: Scene, method: str, path: str) -> None:
    await queue(scene, "t1", destination="slack.other")
    status, answer = await scene.request(method, f"{path}?destination=slack.x", {"state": QUEUED})
    assert (status, answer["error"]) == (400, f"unknown: destination; {path} accepts no query")
    assert [entry["state"] for entry in await listed(scene)] == [QUEUED]


async def test_a_delivery_is_shown_by_its_number_or_the_beginning_of_its_notification(scene: Scene) -> None:
    scene.host.default = {"ts": "1.2"}
    await queue(scene, "t1")
    entry = await until(scene, "t1", "delivered")
    status, detail = await scene.request("GET", f"/deliveries/{entry['id']}")
    assert status == 200
    assert detail["content"]["title"] == "task_failed t1"
    assert detail["receipt"] == {"ts": "1.2"}
    assert (detail["in_flight"], detail["thread"]) == (False, "p/task/t1/1")
    assert await scene.request("GET", f"/deliveries/{entry['notification'][:10].upper()}") == (200, detail)


async def test_a_plugin_says_what_it_knows_or_why_it_says_nothing(scene: Scene) -> None:
    scene.facts = lambda: {"bytes": 3, "sent": ["with whsec_c2VjcmV0c2VjcmV0c2VjcmV0", None]}
    status, detail = await scene.request("GET", f"/plugins/{DESTINATION}")
    assert (status, detail["name"], detail["state"], detail["silence"]) == (200, DESTINATION, "loaded", None)
    assert detail["facts"]["bytes"] == 3
    assert "c2VjcmV0" not in str(detail)

    def fail() -> dict[str, Any]:
        raise PluginError(DESTINATION, "it is retrying")

    scene.facts = fail
    status, detail = await scene.request("GET", f"/plugins/{DESTINATION}")
    assert (status, detail["facts"]) == (200, {})
    assert "it is retrying" in detail["silence"]
    scene.facts = lambda: {"free": 1 / 0}
    detail = (await scene.request("GET", f"/plugins/{DESTINATION}"))[1]
    assert detail["silence"] == "ZeroDivisionError: division by zero"
    assert await scene.request("GET", "/plugins/slack.nobody") == (
        404,
        {"error": f"there is no instance slack.nobody; there are: {DESTINATION}"},
    )


@pytest.mark.parametrize(
    ("reference", "status", "sentence"),
    [
        ("77", 404, "there is no delivery 77"),
        ("9" * 40, 404, "there is no delivery 9"),
        ("ntf_77zz", 404, "there is no delivery of a notification ntf_77zz"),
        ("ntf_", 400, "ntf_ is no id of a delivery"),
        ("x%2F..", 400, "x/.. is no id of a delivery"),
        ("%C2%B2", 400, "² is no id of a delivery"),
        ("-1", 400, "-1 is no id of a delivery"),
    ],
)
async def test_what_names_no_delivery_is_a_sentence(
    scene: Scene, reference: str, status: int, sentence: str
) -> None:
    code, answer = await scene.request("GET", f"/deliveries/{reference}")
    assert code == status
    assert answer["error"].startswith(sentence)


async def test_an_ambiguous_id_names_what_it_may_be(scene: Scene) -> None:
    both = (DESTINATION, "slack.other")
    await scene.storage.run(queue_up([event("task_failed", "t1")], both))
    entry = (await listed(scene))[0]
    status, answer = await scene.request("GET", f"/deliveries/{entry['notification'][:10]}")
    assert status == 409
    assert "(to file_log.a)" in answer["error"]
    assert "(to slack.other)" in answer["error"]


async def test_a_retried_delivery_is_sent(scene: Scene) -> None:
    dead, other = await refused(scene, 2)
    assert await scene.request("POST", "/deliveries/retry", {"ids": [str(dead["id"]), "99"]}) == (
        200,
        {"count": 1, "ids": [dead["id"]], "refused": [{"id": 99, "reason": "there is no such delivery"}]},
    )
    again = await until(scene, "dead0", "delivered")
    assert (again["attempts"], again["reason"]) == (0, None)
    assert scene.host.titles == ["task_failed dead0"]
    assert (await until(scene, "dead1", DEAD))["id"] == other["id"]


async def test_all_that_fit_a_filter_are_retried_in_steps(scene: Scene) -> None:
    await queue(scene, *(f"t{number}" for number in range(2 * MAX_BATCH + 1)), destination="slack.other")
    status, dropped = await scene.request("POST", "/deliveries/drop", {"destination": "slack.other"})
    assert (status, dropped["count"], dropped["refused"]) == (200, 2 * MAX_BATCH + 1, [])
    assert await scene.request("POST", "/deliveries/drop", {"destination": "slack.other"}) == (
        200,
        {"count": 0, "ids": [], "refused": []},
    )
    status, retried = await scene.request("POST", "/deliveries/retry", {"state": DEAD})
    assert (status, retried["count"]) == (200, 2 * MAX_BATCH + 1)
    assert len(await listed(scene, "?state=dead")) == 0


async def test_what_is_in_flight_is_not_dropped(tmp_path: Path) -> None:
    class Slow(FakeHost):
        async def deliver(self, *args: Any) -> Any:
            begun.set()
            await go_on.wait()
            return await super().deliver(*args)

    begun, go_on = trio.Event(), trio.Event()
    async with open_scene(tmp_path, host=Slow()) as scene:
        await queue(scene, "t1", "t2")
        await begun.wait()
        status, answer = await scene.request("POST", "/deliveries/drop", {"state": QUEUED})
        assert (status, answer["count"]) == (200, 1)
        assert [entry["reason"] for entry in answer["refused"]] == ["it is on its way at this moment"]
        assert (await scene.request("GET", f"/deliveries/{answer['refused'][0]['id']}"))[1]["in_flight"]
        go_on.set()
        await until(scene, "t1", "delivered")
    assert scene.host.titles == ["task_failed t1"]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"{", 400, "the body is no JSON"),
        (b"[]", 400, "the body is no JSON object"),
        (b"NaN", 400, "the body is no JSON"),
        (b'{"ids": "1"}', 400, "ids should be a list of texts"),
        (b'{"ids": []}', 400, "ids should be a list of texts"),
        (b'{"ids": [1]}', 400, "ids should be a list of texts"),
        (b'{"ids": ["1"], "state": "dead"}', 400, "name ids or a filter, not both"),
        (b'{"ids": ["one"]}', 400, "one is no id of a delivery"),
        (b"{}", 400, "name ids, or a filter"),
        (
            b'{"colour": "red"}',
            400,
            "unknown: colour; a filter has destination, project, since, state, task, until",
        ),
        (b'{"state": 3}', 400, "state should be a text"),
        (b'{"state": null}', 400, "state should be a text"),
        (b'{"destination": ""}', 400, "destination is empty; leave it out if it does not matter"),
        (b'{"state": ""}', 400, "state is empty"),
        (b'{"state": ","}', 400, "state should be queued"),
        (b'{"since": ""}', 400, "since is empty"),
        (b'{"until": ""}', 400, "until is empty"),
        (b'{"destination": "", "state": "queued"}', 400, "destination is empty"),
        (b'{"state": "delivered"}', 400, "drop is for deliveries that are queued"),
        (b'{"ids": [' + b", ".join([b'"1"'] * 501) + b"]}", 400, "at most 500 ids at once"),
        (b" " * (MAX_BODY_BYTES + 1), 413, "the body has more than 65536 bytes"),
    ],
)
async def test_a_wrong_body_is_a_sentence(scene: Scene, body: bytes, status: int, sentence: str) -> None:
    await queue(scene, "t1", destination="slack.other")
    code, answer = await scene.request("POST", "/deliveries/drop", raw=body)
    assert code == status
    assert answer["error"].startswith(sentence)
    assert [entry["state"] for entry in await listed(scene)] == [QUEUED]


async def test_a_wrong_id_among_right_ones_changes_nothing(scene: Scene) -> None:
    (dead,) = await refused(scene)
    status, _ = await scene.request("POST", "/deliveries/retry", {"ids": [str(dead["id"]), "ntf_zz"]})
    assert status == 404
    assert [entry["state"] for entry in await listed(scene)] == [DEAD]


async def test_a_paused_destination_holds_its_queue_until_it_is_resumed(scene: Scene) -> None:
    async def turn(how: str) -> tuple[int, Any]:
        return await scene.request("POST", f"/destinations/{how}", {"names": [DESTINATION]})

    def answer_of(changed: bool) -> tuple[int, Any]:
        return 200, {"destinations": [{"name": DESTINATION, "changed": changed}]}

    assert await turn("pause") == answer_of(changed=True)
    assert await turn("pause") == answer_of(changed=False)
    await queue(scene, "t1")
    _, answer = await scene.request("GET", "/status")
    assert (answer["destinations"][0]["state"], answer["destinations"][0]["queued"]) == ("paused", 1)
    assert scene.host.titles == []
    assert await turn("resume") == answer_of(changed=True)
    await until(scene, "t1", "delivered")
    assert await turn("resume") == answer_of(changed=False)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({}, 400, "name the destinations, and nothing else"),
        ({"names": [DESTINATION], "state": "dead"}, 400, "name the destinations, and nothing else"),
        ({"names": []}, 400, "names should be a list of texts"),
        ({"names": DESTINATION}, 400, "names should be a list of texts"),
        ({"names": [DESTINATION, ""]}, 404, "there is no destination ; there are: file_log.a"),
        ({"names": [DESTINATION, "pg/a1.toml"]}, 404, "there is no destination pg/a1.toml; there are: file_log.a"),
    ],
)
async def test_what_cannot_be_paused_as_a_whole_is_not_paused_in_part(
    scene: Scene, body: object, status: int, sentence: str
) -> None:
    code, answer = await scene.request("POST", "/destinations/pause", body)
    assert code == status
    assert answer["error"].startswith(sentence)
    assert [entry["state"] for entry in (await scene.request("GET", "/status"))[1]["destinations"]] == ["open"]


async def test_a_queue_without_a_worker_is_shown_and_cannot_be_paused(scene: Scene) -> None:
    await queue(scene, "t1", "t2", destination="webhook.dead")
    await queue(scene, "t3", destination="webhook.soon")
    scene.configured = (DESTINATION, "webhook.soon")
    code = (await scene.request("GET", "/status"))[1]["destinations"]
    assert [(entry["name"], entry["state"], entry["queued"]) for entry in code] == [
        (DESTINATION, "open", 0),
        ("webhook.dead", "not configured", 2),
        ("webhook.soon", None, 1),
    ]
    assert code[1]["oldest"] is not None
    assert await scene.request("POST", "/destinations/resume", {"names": ["webhook.dead"]}) == (
        404,
        {"error": "there is no destination webhook.dead; there are: file_log.a"},
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/nothing", 404, "there is nothing at /nothing"),
        ("GET", "/", 404, "there is nothing at /"),
        ("POST", "/status", 405, "/status does not take POST"),
        ("DELETE", "/deliveries/1", 405, "/deliveries/1 does not take DELETE"),
        ("GET", "/plugins/conf/a1.toml", 404, "there is no instance conf/a1.toml; there are: file_log.a"),
    ],
)
async def test_what_is_not_there_is_a_sentence(
    scene: Scene, method: str, path: str, status: int, sentence: str
) -> None:
    code, answer = await scene.request(method, path, {})
    assert (code, answer["error"]) == (status, sentence)


async def test_a_store_in_trouble_is_a_sentence_and_status_still_answers(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "store.db").rename(tmp_path / "away.db")
    status, answer = await scene.request("GET", "/deliveries")
    assert status == 503
    assert "moved, deleted or replaced" in answer["error"]
    status, answer = await scene.request("GET", "/status")
    assert status == 200
    assert "moved, deleted or replaced" in answer["store"]["trouble"]
    assert answer["trouble"] == answer["store"]["trouble"]  # while the health has not seen it yet
    assert answer["destinations"] == []
    (tmp_path / "away.db").rename(tmp_path / "store.db")
    assert (await scene.request("GET", "/deliveries"))[0] == 200


async def test_a_fault_of_ours_is_told_without_its_words_and_hurts_nothing(scene: Scene) -> None:
    scene.projects = None  # type: ignore[assignment]
    status, answer = await scene.request("GET", "/status")
    assert (status, answer) == (500, {"error": "the agent could not answer; its log says why"})
    scene.projects = []
    assert (await scene.request("GET", "/status"))[0] == 200


async def test_a_port_that_is_taken_is_told_and_the_agent_goes_on(tmp_path: Path) -> None:
    from aintandem_notify.control.server.access import AgentAccess
    from aintandem_notify.control.server.server import open_control

    with socket.socket() as occupied, capture_logs() as lines:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        async with open_scene(tmp_path) as scene:
            access = AgentAccess(
                config=tmp_path / "other.toml",
                version="1",
                started_at=NOW,
                clock=scene.clock,
                storage=scene.storage,
                liveness=None,  # type: ignore[arg-type]
                phase=str,
                health=Health,
                projects=tuple,
                unwatched=lambda: None,
                plugins=tuple,
                diagnose=scene.diagnose,
                destinations=lambda: scene.dispatcher.snapshot(()),
                pausable=scene.dispatcher.names,
                in_flight=tuple,
                wake=lambda _names: None,
                pause=scene.dispatcher.pause,
                resume=scene.dispatcher.resume,
                reload=scene.reload,
                wait_set_up=trio.lowlevel.checkpoint,
            )
            async with open_control(access, ("127.0.0.1", occupied.getsockname()[1])):
                assert (await scene.request("GET", "/healthz", token=None))[0] == 200
            async with open_control(access, None):
                assert find_endpoint(control_file(access.config)) is None
    warnings = [line for line in lines if str(line["event"]).startswith("no control API")]
    assert len(warnings) == 1
    assert "in use" in str(warnings[0]["reason"])


async def test_a_client_that_takes_no_answer_does_not_hold_the_end_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SEND_TIMEOUT_MS", 300)
    with socket.socket() as stalled:
        async with open_scene(tmp_path) as scene:
            await queue(scene, *(f"t{number}" for number in range(200)), destination="slack.other")
            where = scene.whereabouts()
            head = f"Host: localhost\r\nAuthorization: Bearer {where.token}\r\n\r\n"
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", int(where.address.rpartition(":")[2])))
            stalled.sendall(f"GET /deliveries?limit=200 HTTP/1.1\r\n{head}".encode() * 10)
            await trio.lowlevel.wait_readable(stalled)
            assert (await scene.request("GET", "/healthz", token=None))[0] == 200
        # The client is still there, and most of its first answer has not left.
        assert find_endpoint(control_file(scene.config)) is None


async def test_a_reload_that_was_taken_names_its_changes(scene: Scene) -> None:
    async def reload() -> ReloadResult:
        return ReloadResult(at=NOW, config="/etc/c.toml", restarted=(DESTINATION,), changed=("[log]",))

    scene.reload = reload
    status, answer = await scene.request("POST", "/reload", {})
    assert status == 200
    assert (answer["taken"], answer["restarted"], answer["changed"]) == (True, [DESTINATION], ["[log]"])
    assert answer["not_running"] == []


async def test_a_reload_that_was_refused_names_its_problems(scene: Scene) -> None:
    async def reload() -> ReloadResult:
        return ReloadResult(at=NOW, config="/etc/c.toml", problems=(Problem("unknown key", "log.levle", 3),))

    scene.reload = reload
    status, answer = await scene.request("POST", "/reload")
    assert (status, answer["taken"]) == (200, False)
    assert answer["problems"] == [
        {"file": "/etc/c.toml", "line": 3, "key": "log.levle", "sentence": "unknown key"}
    ]


async def test_a_reload_takes_no_fields(scene: Scene) -> None:
    status, answer = await scene.request("POST", "/reload", {"config": "/etc/passwd"})
    assert status == 400
    assert "takes no fields" in answer["error"]


async def test_a_reload_while_the_agent_stops_is_refused(scene: Scene) -> None:
    async def reload() -> ReloadResult:
        raise ReloadAbandonedError

    scene.reload = reload
    assert await scene.request("POST", "/reload") == (
        503,
        {"error": "the agent is stopping, so it does not read its config again"},
    )


async def test_a_reload_that_takes_long_is_waited_for_while_others_are_answered(scene: Scene) -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def reload() -> ReloadResult:
        begun.set()
        await go_on.wait()
        return ReloadResult(at=NOW, config="/etc/c.toml")

    scene.reload = reload
    answers = list[int]()

    async def ask() -> None:
        status, _ = await scene.request("POST", "/reload")
        answers.append(status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await begun.wait()
        assert (await scene.request("GET", "/status"))[0] == 200
        go_on.set()
    assert answers == [200]


async def test_a_command_does_not_wait_for_a_reload_without_end(scene: Scene) -> None:
    scene.reload = trio.sleep_forever
    ask = partial(reload_agent, scene.config, timeout_s=0.05, on_slow=lambda: None)
    with pytest.raises(RequestRefused, match="has not finished after"):
        await trio.to_thread.run_sync(ask)


async def test_a_command_says_that_it_still_waits(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_backend, "SLOW_S", 0.0)
    heard = trio.Event()

    async def reload() -> ReloadResult:
        await heard.wait()
        return ReloadResult(at=NOW, config="/etc/c.toml")

    scene.reload = reload
    token = trio.lowlevel.current_trio_token()
    # The command runs a loop of its own in its thread.
    ask = partial(reload_agent, scene.config, timeout_s=600.0, on_slow=lambda: token.run_sync_soon(heard.set))
    assert (await trio.to_thread.run_sync(ask)).taken


async def test_a_command_gets_the_result_of_a_reload(scene: Scene) -> None:
    ask = partial(reload_agent, scene.config, timeout_s=600.0, on_slow=lambda: None)
    response = await trio.to_thread.run_sync(ask)
    assert response.taken
    assert response.config == "/etc/notify/config.toml"
