"""Ends that a subscriber missed are looked up."""

import pytest
import trio
import trio.testing

from aintandem_notify.client.channels import channel
from aintandem_notify.simulator.simulation import Simulator
from support.clients import logged_in
from support.raw_http import RestAnswer
from support.raw_orchestrator import RawOrchestrator
from support.recorder import Recorder

P = "project-123"


async def test_a_late_subscriber_gets_the_end_of_a_task(simulator: Simulator) -> None:
    received, done = Recorder(), Recorder()
    async with logged_in(simulator) as client:
        task = simulator.tasks.submit(P, outcome="completed", seconds=0.1)
        await task.ended.wait()
        await client.subscribe_to_task(P, task.id, received, done)
        await done.count(1)
        assert received.all == done.all
        assert (done.all[0].output, done.all[0].caught_up) == (task.result, True)


async def test_events_come_as_they_were_sent_with_what_looks_like_a_secret_also_looked_up(
    raw: RawOrchestrator,
) -> None:
    long = "password=hunter2 " * 20_000
    received, done, failed = Recorder(), Recorder(), Recorder()
    raw.rest[f"GET /api/projects/{P}/tasks/over"] = {"id": "over", "status": "completed", "output": {"said": long}}
    raw.rest[f"GET /api/projects/{P}/tasks/broken"] = {"id": "broken", "status": "failed", "error": long}
    async with logged_in(raw) as client:
        await client.subscribe_to_task(P, "t1", received)
        socket = await raw.connections.receive()
        await socket.send_event("output", taskId="t1", output=long)
        await received.count(1)
        await client.subscribe_to_task(P, "over", print, done)
        await client.subscribe_to_task(P, "broken", print, None, failed)
        await done.count(1)
        await failed.count(1)
    assert received.all[0].output == long
    assert done.all[0].output == {"said": long}
    assert failed.all[0].error == long


async def test_an_end_that_came_while_the_socket_was_down(simulator: Simulator) -> None:
    done, broken = Recorder(), Recorder()
    async with logged_in(simulator) as client:
        task = simulator.tasks.submit(P, outcome="failed", seconds=10_000)
        execution = simulator.workflows.create(P, outcome="completed", pauses=False, seconds=0.1)
        await client.subscribe_to_task(P, task.id, print, on_cancelled=done)
        await client.subscribe_to_workflow(P, print, None, execution.id, broken)
        await client.subscribe_to_workflow(P, print, "another")
        with simulator.front.away():
            simulator.tasks.cancel(P, task.id)
            simulator.workflows.start(execution.id)
            await execution.ended.wait()
        await done.count(1)
        await broken.count(1)
    assert [event.caught_up for event in done.all + broken.all] == [True, True]


async def test_trouble_with_looking_up_is_waited_out(
    raw: RawOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "LOOKUP_RETRY_S", (0.01, 0.02))
    answers = [RestAnswer({"id": "t1", "status": "cancelled"}), *[RestAnswer({"error": "no"}, 403)] * 5]
    raw.rest[f"GET /api/projects/{P}/tasks/t1"] = lambda _: answers.pop()
    done = Recorder()
    async with logged_in(raw) as client:
        await client.subscribe_to_task(P, "t1", print, on_cancelled=done)
        await done.count(1)


async def test_an_unknown_run_is_waited_for(raw: RawOrchestrator) -> None:
    """Some orchestrators do not have that call."""
    received = Recorder()
    async with logged_in(raw) as client:
        await client.subscribe_to_task(P, "t1", received)
        socket = await raw.connections.receive()
        while raw.requests[-1].path != f"/api/projects/{P}/tasks/t1":
            await trio.lowlevel.checkpoint()
        await socket.send_event("task_started", taskId="t1")
        await received.count(1)
