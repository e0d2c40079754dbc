"""``/explain`` of the control API, with a real store."""

from pathlib import Path

from support.control import DESTINATION, open_scene, queue


async def test_an_id_is_explained_and_an_unknown_one_refused(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        await queue(scene, "t1")
        status, answer = await scene.request("GET", "/explain/t1")
        assert (status, answer["reference"], answer["more"]) == (200, "t1", False)
        [event] = answer["events"]
        assert [(fate["rule"], fate["destination"]) for fate in event["fates"]] == [("all", DESTINATION)]
        assert [(rule["rule"], rule["verdict"]) for rule in event["rules"]] == [
            ("all", "match"),
            ("agent", "other_type"),
        ]
        status, answer = await scene.request("GET", "/explain/t%2F9")
        assert (status, answer["error"].partition(";")[0]) == (404, "the store has no event of t/9")


async def test_a_made_up_event_is_explained_and_not_stored(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        body = {"event": {"type": "task_failed", "task": "Nightly"}, "project": "p"}
        status, answer = await scene.request("POST", "/explain", body)
        assert (status, answer["reference"]) == (200, None)
        [event] = answer["events"]
        assert (event["key"], event["run"], event["project"]) == (None, "Nightly", "P")
        assert [(fate["destination"], fate["fate"]) for fate in event["fates"]] == [(DESTINATION, "now")]
        assert (await scene.request("GET", "/deliveries"))[1]["deliveries"] == []
        assert (await scene.request("GET", "/explain/task-1"))[0] == 404


async def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        known = {"type": "task_failed"}
        bodies: list[dict[str, object]] = [
            {},
            {"event": {}},
            {"event": {"type": "task_fail"}},
            {"event": known, "x": 1},
        ]
        for body in bodies:
            assert (await scene.request("POST", "/explain", body))[0] == 400, body
        assert (await scene.request("GET", "/explain/t1?x=1"))[0] == 400
        assert (await scene.request("GET", "/explain/t1", token="wrong"))[0] == 401
        assert (await scene.request("GET", "/explain"))[0] == 405
