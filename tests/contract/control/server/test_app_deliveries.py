"""Deliveries listed, shown, retried and dropped by the control API."""

from pathlib import Path
from typing import Any

import pytest
import trio

from aintandem_notify.control.deliveries import MAX_BATCH
from aintandem_notify.control.server.request_parsing import MAX_BODY_BYTES
from aintandem_notify.store import DeliveryState, Settlement
from support.control import DESTINATION, Scene, listed, open_scene, queue, until
from support.outbox import NOW, FakeHost, claim_all, event, inside, queue_up

DEAD, QUEUED = "dead", "queued"


async def refused(scene: Scene, runs: int = 1) -> list[dict[str, Any]]:
    """Stores ``count`` dead deliveries without a try."""
    names = [f"dead{number}" for number in range(runs)]
    await scene.storage.run(queue_up([event("task_failed", name) for name in names], (DESTINATION,)))
    claims = await scene.storage.run(claim_all(DESTINATION))
    ends = [Settlement(claim, DeliveryState.DEAD, NOW, NOW, attempts=2, reason="never") for claim in claims]
    await scene.storage.run(inside(lambda store: store.outbox.settle(ends)))
    return [await until(scene, name, DEAD) for name in names]


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
