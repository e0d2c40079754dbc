"""Every endpoint of the control API and every error, over real sockets."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from aintandem_notify.control.discovery import control_file, find_endpoint
from aintandem_notify.domain.health import Health
from aintandem_notify.errors import PluginError
from support.control import DESTINATION, PATIENT, Scene, open_scene, queue, until
from support.outbox import NOW


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
                explainer=lambda: scene.explainer,
                destinations=lambda: scene.dispatcher.snapshot(()),
                pausable=scene.dispatcher.names,
                in_flight=tuple,
                look_again=lambda: None,
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


async def test_a_client_that_takes_no_answer_does_not_hold_the_end_back(tmp_path: Path) -> None:
    with socket.socket() as stalled:
        async with open_scene(tmp_path, times=replace(PATIENT, send_ms=300)) as scene:
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
