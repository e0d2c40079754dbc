"""Subscriptions, streams and history of the library, over real sockets."""

import pytest
import trio
import trio.testing

from aintandem_notify import AInTandemClient, TaskEvent, UnknownEvent, WorkflowEvent
from aintandem_notify.simulator.demo import all_types
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.testing import SIMULATOR_SPEED
from support.clients import logged_in
from support.raw_orchestrator import Accept, RawOrchestrator, event_text, frame
from support.recorder import Recorder

P = "project-123"


async def test_all_types_reach_a_subscription_to_all(simulator: Simulator) -> None:
    received = Recorder()
    async with logged_in(simulator) as client:
        subscription = await client.progress.subscribe_to_progress(P, received)
        assert (subscription.project_id, subscription.is_active) == (P, True)
        assert repr(subscription) == "<ProgressSubscription of 'project-123': active, 0 dropped>"
        await all_types(simulator, P)
        await received.count(len(simulator.world.history))
        assert [event.wire() for event in received.all] == list(simulator.world.history)
        assert len({event.type for event in received.all}) == 20


async def test_a_task_a_workflow_a_sandbox_each_to_its_own(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        task = simulator.tasks.submit(P, outcome="completed", seconds=0.5)
        execution = simulator.workflows.create(P, outcome="failed", seconds=0.5)
        sandbox = simulator.sandboxes.create(P, breaks=False)
        tasks, done, executions, broken, sandboxes, everything = (Recorder() for _ in range(6))
        await client.subscribe_to_task(P, task.id, tasks, done)
        await client.subscribe_to_workflow(P, executions, execution_id=execution.id, on_failed=broken)
        await client.subscribe_to_sandbox(P, sandboxes, sandbox.id)
        await client.progress.subscribe_to_progress(P, everything)
        await simulator.wait_subscribed(P)
        assert len(simulator.subscriptions.of(P)) == 1, "one socket a project"
        await all_types(simulator, P)
        simulator.workflows.start(execution.id)
        simulator.sandboxes.start(sandbox.id)
        for received in (done, broken, sandboxes):
            await received.count(1)
        assert {event.task_id for event in tasks.all} == {task.id}
        assert (tasks.types[-1], done.types) == ("task_completed", ["task_completed"])
        assert {event.execution_id for event in executions.all} == {execution.id}
        assert broken.types == ["workflow_execution_failed"]
        assert (sandboxes.types, sandboxes.all[0].sandbox_id) == (["sandbox_started"], sandbox.id)
        await everything.until(lambda received: "sandbox_started" in received.types)


async def test_every_task_type_reaches_a_task(raw: RawOrchestrator) -> None:
    """Also ``step_progress``, ``output`` and ``artifact``, which the TypeScript library loses."""
    kinds = [
        "task_queued",
        "task_started",
        "step_progress",
        "output",
        "task_completed",
        "task_failed",
        "task_cancelled",
    ]
    received, ends = Recorder(), Recorder()
    async with logged_in(raw) as client:
        await client.subscribe_to_task(P, "t1", received, ends, ends, on_cancelled=ends)
        socket = await raw.connections.receive()
        for kind in kinds:
            await socket.send_event(kind, taskId="another")
            await socket.send_event(kind, taskId="t1")
        await socket.send_event("artifact", taskId="t1", artifact={"path": "a", "type": "b"})
        await received.count(8)
        assert received.types == [*kinds, "artifact"]
        assert all(isinstance(event, TaskEvent) for event in received.all)
        assert ends.types == ["task_completed", "task_failed", "task_cancelled"]


async def test_an_unknown_type_is_an_event(raw: RawOrchestrator) -> None:
    received, ours = Recorder(), Recorder()
    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, received)
        await client.subscribe_to_task(P, "t1", ours)
        socket = await raw.connections.receive()
        await socket.send_event("task_retried", taskId="t1", nextAttempt=2)
        await ours.count(1)
        await received.count(1)
        (event,) = received.all
        assert isinstance(event, UnknownEvent)
        assert event.model_extra == {"taskId": "t1", "nextAttempt": 2}


async def test_the_first_event_is_not_lost(raw: RawOrchestrator) -> None:
    """It comes in the same segment as the upgrade response."""
    raw.upgrade_answers.append(Accept(then=frame(event_text("task_started", P, taskId="t1"))))
    received = Recorder()
    async with logged_in(raw) as client:
        await client.subscribe_to_task(P, "t1", received)
        await received.count(1)
        assert received.types == ["task_started"]


async def test_the_socket_goes_with_the_last_subscription(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        first = await client.subscribe_to_task(P, "t1", print)
        second = await client.progress.subscribe_to_progress(P, print)
        first()
        first()
        assert client.progress.is_connected(P)
        second.unsubscribe()
        assert not second.is_active
        await simulator.wait_unsubscribed(P)
        third = await client.subscribe_to_sandbox(P, print)
        assert client.progress.is_connected(P)
        third()
        fourth = await client.subscribe_to_sandbox(P, print)
        assert client.progress.is_connected(P), "one that comes while the old socket closes gets a new one"
        fourth()
        await simulator.wait_unsubscribed(P)


async def test_a_socket_that_is_held_stays(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        await client.progress.connect(P)
        await client.progress.connect(P)
        unsubscribe = await client.subscribe_to_task(P, "t1", print)
        unsubscribe()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert client.progress.is_connected(P)
        await client.progress.disconnect(P)
        assert client.progress.get_connection_state(P) == "disconnected"
        await simulator.wait_unsubscribed(P)
        await client.progress.disconnect(P)
        await client.progress.disconnect("never heard of")


async def test_several_projects(simulator: Simulator) -> None:
    ours, theirs = Recorder(), Recorder()
    async with logged_in(simulator) as client:
        await client.progress.subscribe_to_progress(P, ours)
        await client.progress.subscribe_to_progress("project-456", theirs)
        simulator.sandboxes.create(P)
        simulator.sandboxes.create("project-456")
        await ours.count(1)
        await theirs.count(1)
        assert [event.project_id for event in ours.all + theirs.all] == [P, "project-456"]
        await client.progress.disconnect_all()
        assert not client.progress.is_connected(P)
        assert not client.progress.is_connected("project-456")
        await simulator.wait_unsubscribed(P)


async def test_callbacks_outlive_a_disconnect(raw: RawOrchestrator) -> None:
    received = Recorder()
    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, received)
        await (await raw.connections.receive()).send_event("task_started", taskId="t1")
        await received.count(1)
        await client.progress.disconnect(P)
        await client.progress.connect(P)
        await (await raw.connections.receive()).send_event("task_started", taskId="t2")
        await received.count(2)


async def test_a_lost_socket_is_opened_again(raw: RawOrchestrator) -> None:
    received = Recorder()
    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, received)
        await (await raw.connections.receive()).reset()
        await (await raw.connections.receive()).send_event("task_started", taskId="t1")
        await received.count(1)


async def test_a_stream(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        async with client.progress.events(P) as events:
            sandbox = simulator.sandboxes.create(P)
            simulator.tasks.submit("project-456")
            async for event in events:
                assert event.run_id == sandbox.id
                break
            assert events.dropped == 0
        await simulator.wait_unsubscribed(P)


async def test_a_stream_of_one_workflow(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        execution = await client.workflows.create_execution("nightly-report", P)
        async with client.progress.events(P, execution_id=execution.id) as events:
            simulator.world.speed = 0.5  # so that the workflow does not end before it is paused
            await client.workflows.start(execution.id)
            await client.workflows.pause(execution.id)
            await client.workflows.resume(execution.id)
            simulator.world.speed = SIMULATOR_SPEED
            types = [(await anext(events)).type for _ in range(2)]
            assert types[0] == "workflow_execution_started"
            async for event in events:
                assert isinstance(event, WorkflowEvent)
                if event.type in {"workflow_execution_completed", "workflow_execution_failed"}:
                    break


async def test_a_stream_ends_with_the_connection(simulator: Simulator) -> None:
    async with logged_in(simulator) as client, client.progress.events(P) as events:
        simulator.sandboxes.create(P)
        await anext(events)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.progress.disconnect, P)
            assert [event async for event in events] == []


async def test_a_stream_with_a_buffer(raw: RawOrchestrator) -> None:
    fast = Recorder()
    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, fast)
        socket = await raw.connections.receive()
        async with client.progress.events(P, buffer=3) as events:
            for number in range(10):
                await socket.send_event("task_started", taskId=str(number))
            await fast.count(10)
            assert [(await anext(events)).run_id for _ in range(3)] == ["7", "8", "9"]
            assert events.dropped == 7


async def test_a_stream_of_one_kind_of_thing() -> None:
    async with AInTandemClient("http://127.0.0.1:9") as client:
        with pytest.raises(ValueError, match="one task, workflow or sandbox"):
            async with client.progress.events(P, task_id="t", sandbox_id="s"):
                pass


async def test_history(simulator: Simulator) -> None:
    received = Recorder()
    async with logged_in(simulator, history_limit=50) as client:
        assert client.progress.history(P) == []
        subscription = await client.progress.subscribe_to_progress(P, received)
        ids = await all_types(simulator, P)
        await received.count(len(simulator.world.history))
        assert client.progress.history(P) == received.all[-50:]
        of_one = client.progress.history(P, sandbox_id=ids["sandbox_error"])
        assert of_one == [event for event in received.all[-50:] if event.run_id == ids["sandbox_error"]]
        client.progress.clear_history("project-456")
        assert len(client.progress.history(P)) == 50
        client.progress.clear_history()
        assert client.progress.history(P) == []
        simulator.sandboxes.create(P)
        await received.count(len(simulator.world.history))
        assert len(client.progress.history(P)) == 1
        subscription.unsubscribe()
        await client.progress.disconnect(P)
        assert client.progress.history(P) == []
