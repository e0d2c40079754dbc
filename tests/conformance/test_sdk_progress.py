"""The official SDK watches the simulator and gets all events, also after the connection was cut."""

import json
from typing import Any

import pytest

from aintandem_notify.domain.events.event_types import WIRE_MODELS
from aintandem_notify.simulator.demo import all_types
from aintandem_notify.simulator.simulation import Simulator
from support.raw_orchestrator import open_raw_orchestrator
from support.sdk import Sdk, callback, logged_in

P = "project-123"
PREFIXES = pytest.mark.parametrize("prefix", ["/api", ""])


def sent(simulator: Simulator, *kinds: str) -> list[dict[str, Any]]:
    """The events of the project that begin with one of ``kinds``, as the simulator sent them."""
    return [
        frame for frame in simulator.world.history if frame["projectId"] == P and frame["type"].startswith(kinds)
    ]


async def subscribe_to_all(sdk: Sdk, name: str = "all") -> Any:
    return await sdk.call("getProgress()", "subscribeToProgress", given=(P, callback(name)))


@PREFIXES
async def test_every_event_reaches_it_in_order(simulator: Simulator, prefix: str) -> None:
    async with logged_in(simulator.url + prefix) as sdk:
        await subscribe_to_all(sdk)
        await sdk.call("subscribeToTask", given=(P, None, callback("task"), callback("done"), callback("failed")))
        workflow = (P, callback("workflow"), None, None, callback("done"), callback("failed"))
        await sdk.call("subscribeToWorkflow", given=workflow)
        await sdk.call("subscribeToSandbox", given=(P, callback("sandbox")))
        assert len(simulator.subscriptions.of(P)) == 1, "one socket for all subscriptions of a project"
        await all_types(simulator, P)
        simulator.send(P, '{"type": "sandbox_stopped", "projectId": "project-123", "sandboxId": "the-end"}')
        await sdk.until(lambda: any(event["sandboxId"] == "the-end" for event in sdk.heard["sandbox"]))
    assert sdk.heard["all"][:-1] == sent(simulator, "")
    assert set(sdk.types("all")) == set(WIRE_MODELS)
    assert sdk.heard["task"] == sent(simulator, "task_")
    assert sdk.heard["workflow"] == sent(simulator, "workflow_")
    assert sdk.heard["sandbox"][:-1] == sent(simulator, "sandbox_")
    ends = ("task_completed", "workflow_execution_completed")
    assert sdk.heard["done"] == sent(simulator, *ends)
    assert sdk.heard["failed"] == sent(simulator, "task_failed", "workflow_execution_failed")


async def test_subscriptions_get_their_own_events(simulator: Simulator) -> None:
    async with logged_in(simulator.url) as sdk:
        tasks, executions = simulator.tasks, simulator.workflows
        await sdk.call("tasks", "setTaskLimit", given=(P, {"limit": 1}))
        blocking = tasks.submit(P, seconds=9e9)
        mine, other = tasks.submit(P, outcome="completed", seconds=1), tasks.submit(P, seconds=1)
        execution = executions.create(P, outcome="failed", pauses=False, seconds=1)
        box = simulator.sandboxes.create(P, breaks=False)
        await sdk.call("subscribeToTask", given=(P, mine.id, callback("task"), callback("done")))
        plan = (execution.plan.workflow_id, execution.id)
        await sdk.call("subscribeToWorkflow", given=(P, callback("run"), *plan, None, callback("failed")))
        await sdk.call("subscribeToSandbox", given=(P, callback("box"), box.id))
        for id_ in (execution.id, executions.create(P, seconds=9e9).id):
            executions.start(id_)
        simulator.sandboxes.start(simulator.sandboxes.create(P, breaks=False).id)
        simulator.sandboxes.start(box.id)
        tasks.cancel(P, blocking.id)
        await other.ended.wait()
        await sdk.until(lambda: bool(sdk.heard["done"] and sdk.heard["failed"] and sdk.heard["box"]))
    assert sdk.types("task") == ["task_started", "task_completed"]
    assert {event["taskId"] for event in sdk.heard["task"]} == {mine.id}
    assert sdk.heard["done"][0]["output"] == mine.as_json()["output"]
    assert {event["executionId"] for event in sdk.heard["run"]} == {execution.id}
    assert sdk.heard["failed"][0]["error"] == execution.error
    assert sdk.types("box") == ["sandbox_started"]


async def test_an_ended_subscription_gets_no_more_events(simulator: Simulator) -> None:
    async with logged_in(simulator.url) as sdk:
        subscription = await subscribe_to_all(sdk, "first")
        unsubscribe = await sdk.call("subscribeToSandbox", given=(P, callback("second")))
        await subscribe_to_all(sdk, "third")
        simulator.sandboxes.create(P)
        await sdk.until(lambda: len(sdk.heard["third"]) == 1)
        await sdk.call(*subscription)
        await sdk.call(*unsubscribe)
        simulator.sandboxes.create(P)
        await sdk.until(lambda: len(sdk.heard["third"]) == 2)
    assert [len(sdk.heard[name]) for name in ("first", "second")] == [1, 1]


async def test_connections_by_hand(simulator: Simulator) -> None:
    async with logged_in(simulator.url) as sdk:

        async def state(project_id: str) -> tuple[str, bool]:
            return (
                await sdk.call("getProgress()", "getConnectionState", given=(project_id,)),
                await sdk.call("getProgress()", "isConnected", given=(project_id,)),
            )

        assert await state(P) == ("disconnected", False)
        for project in (P, "project-456"):
            await sdk.call("getProgress()", "connect", given=(project,))
            assert await state(project) == ("connected", True)
        await sdk.call("getProgress()", "onConnectionState", given=(P, callback("state")))
        await sdk.call("getProgress()", "disconnect", given=(P,))
        await simulator.wait_unsubscribed(P)
        assert (await state(P), await state("project-456")) == (("disconnected", False), ("connected", True))
        await sdk.call("getProgress()", "disconnectAll")
        await simulator.wait_unsubscribed("project-456")
    event = sdk.heard["state"][0]
    assert (event["type"], event["code"], event["willReconnect"]) == ("disconnected", 1000, False)


@pytest.mark.parametrize("cut", ["close", "reset", "nothing", "restart"])
async def test_it_reconnects_after_a_cut_and_gets_later_events(simulator: Simulator, cut: str) -> None:
    async with logged_in(simulator.url) as sdk:
        await subscribe_to_all(sdk)
        await sdk.call("getProgress()", "onConnectionState", given=(P, callback("state")))
        for number in range(1, 3):
            simulator.sandboxes.create(P)
            await sdk.until(lambda number=number: len(sdk.heard["all"]) == number)  # type: ignore[misc]
            match cut:
                case "close":
                    simulator.drop(P, code=1012)
                case "reset":
                    simulator.drop(P, reset=True)
                case "nothing":
                    simulator.drop(P)
                case "restart":
                    await simulator.restart(0.1)
            await sdk.until(lambda number=number: sdk.types("state").count("connected") == number)  # type: ignore[misc]
            await simulator.wait_subscribed(P)
        simulator.sandboxes.create(P)
        await sdk.until(lambda: len(sdk.heard["all"]) == 3)
    assert sdk.heard["all"] == sent(simulator, "sandbox_created")
    gone = [event for event in sdk.heard["state"] if event["type"] == "disconnected"]
    assert all(event["willReconnect"] for event in gone)
    # The SDK reports 1006 for every socket that ends without a close frame.
    assert {event["code"] for event in gone} == ({1012} if cut == "close" else {1006})


async def test_it_answers_pings_and_gets_answers_to_its_own(simulator: Simulator) -> None:
    async with open_raw_orchestrator() as raw, logged_in(raw.url, faster=1000) as sdk:
        await subscribe_to_all(sdk)
        socket = await raw.connections.receive()
        assert 30_000 in sdk.timers, "its heartbeat"
        assert json.loads(await socket.receive())["type"] == "ping"
        await socket.send_text('{"type": "ping", "timestamp": "2026-01-05T09:30:00.000Z"}')
        while json.loads(await socket.receive())["type"] != "pong":
            pass
        await socket.send_event("sandbox_started", sandboxId="s")
        await sdk.until(lambda: sdk.types("all") == ["sandbox_started"])
