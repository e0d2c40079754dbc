"""A reload by the control API, and the commands that wait for one."""

from functools import partial

import pytest
import trio

from aintandem_notify.control.client.backend import reload_agent
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.domain.reload import ReloadAbandonedError, ReloadResult
from aintandem_notify.errors import Problem
from support.control import DESTINATION, Scene
from support.outbox import NOW


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


async def test_a_command_says_that_it_still_waits(scene: Scene) -> None:
    heard = trio.Event()

    async def reload() -> ReloadResult:
        await heard.wait()
        return ReloadResult(at=NOW, config="/etc/c.toml")

    scene.reload = reload
    token = trio.lowlevel.current_trio_token()

    # The command runs a loop of its own in its thread.
    def on_slow() -> None:
        token.run_sync_soon(heard.set)

    ask = partial(reload_agent, scene.config, timeout_s=600.0, on_slow=on_slow, slow_s=0.0)
    assert (await trio.to_thread.run_sync(ask)).taken


async def test_a_command_gets_the_result_of_a_reload(scene: Scene) -> None:
    ask = partial(reload_agent, scene.config, timeout_s=600.0, on_slow=lambda: None)
    response = await trio.to_thread.run_sync(ask)
    assert response.taken
    assert response.config == "/etc/notify/config.toml"
