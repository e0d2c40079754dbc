"""``run_task``: no event is missed, no call waits for ever, and no resource is left."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from aintandem_notify import (
    AInTandemClient,
    Disconnected,
    Event,
    InvalidRequest,
    LinkGivenUp,
    NotFound,
    ProjectGone,
    TaskCancelled,
    TaskEnded,
    TaskFailed,
    TaskResult,
)
from aintandem_notify.simulator.simulation import Simulator
from support.clients import logged_in
from support.raw_orchestrator import RawOrchestrator, RawSocket, Refuse, event_text, frame, open_raw_orchestrator

P = "project-123"
SUBMIT = f"POST /api/projects/{P}/tasks"
LOOK_UP = f"GET /api/projects/{P}/tasks/t1"


@pytest.fixture
async def raw() -> AsyncIterator[RawOrchestrator]:
    async with open_raw_orchestrator() as server:
        server.rest[SUBMIT] = {"taskId": "t1", "message": "queued"}
        yield server


async def submitted(raw: RawOrchestrator) -> RawSocket:
    """Wait until a task was submitted. Returns the socket that was open before."""
    socket = await raw.connections.receive()
    while raw.requests[-1].path != f"/api/projects/{P}/tasks":
        await trio.lowlevel.checkpoint()
    return socket


async def test_a_task_that_completes(simulator: Simulator) -> None:
    received: list[str] = []
    async with logged_in(simulator) as client:
        for answer in range(20):
            result = await _completed(client, received)
            assert isinstance(result, TaskResult)
            record = simulator.tasks.get(P, result.task_id)
            assert (result.project_id, result.output, result.caught_up) == (P, record.result, False)
            assert result.duration is not None
            ours = [frame for frame in simulator.world.history if frame["taskId"] == result.task_id]
            assert [event.wire() for event in result.events] == ours, "from the first to the last"
            assert received == [frame["type"] for frame in ours]
            if answer:
                break
        await simulator.wait_unsubscribed(P)


async def _completed(client: AInTandemClient, received: list[str]) -> TaskResult:
    """The first task that is planned to complete."""
    while True:
        received.clear()
        try:
            return await client.run_task(P, "sum", {"n": 1}, on_event=lambda event: received.append(event.type))
        except TaskFailed:
            continue


async def test_a_task_that_fails(raw: RawOrchestrator) -> None:
    async with logged_in(raw) as client, trio.open_nursery() as nursery:

        async def fail() -> None:
            socket = await submitted(raw)
            await socket.send_event("task_failed", taskId="another", error="not ours")
            await socket.send_event("task_started", taskId="t1")
            await socket.send_event("task_failed", taskId="t1", error="disk full")

        nursery.start_soon(fail)
        with pytest.raises(TaskFailed, match="task t1 failed: disk full") as failed:
            await client.run_task(P, "sum")
        assert [event.type for event in failed.value.events] == ["task_started", "task_failed"]
        assert (failed.value.project_id, failed.value.task_id, failed.value.reason) == (P, "t1", "disk full")
        assert isinstance(failed.value, TaskEnded)


async def test_a_task_that_is_cancelled(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        simulator.tasks.set_limit(P, 1)
        simulator.tasks.submit(P, seconds=10_000)

        async def cancel(event: Event) -> None:
            if event.type == "task_queued":
                await client.tasks.cancel_task(P, event.run_id or "")

        with pytest.raises(TaskCancelled, match="was cancelled") as cancelled:
            await client.run_task(P, "sum", on_event=cancel)
        assert [event.type for event in cancelled.value.events] == ["task_queued", "task_cancelled"]


async def test_events_before_the_answer_are_not_lost(raw: RawOrchestrator) -> None:
    """A quick task may end before the orchestrator has answered the submission."""
    answered = raw.delays[SUBMIT] = trio.Event()
    async with logged_in(raw) as client, trio.open_nursery() as nursery:

        async def finish_first() -> None:
            socket = await submitted(raw)
            for kind in ("task_queued", "task_started", "task_completed"):
                await socket.send_event(kind, taskId="t2")
                await socket.send_event(kind, taskId="t1")
            await trio.testing.wait_all_tasks_blocked(0.02)
            answered.set()

        nursery.start_soon(finish_first)
        result = await client.run_task(P, "sum")
        assert [event.type for event in result.events] == ["task_queued", "task_started", "task_completed"]


async def test_many_at_once_each_get_their_own(simulator: Simulator) -> None:
    ends: list[tuple[str, str]] = []
    async with logged_in(simulator) as client:
        simulator.tasks.set_limit(P, 100)

        async def run(number: int) -> None:
            try:
                events: tuple[Any, ...] = (await client.run_task(P, f"task {number}")).events
            except TaskFailed as failed:
                events = failed.events
            ends.append((events[0].task, events[-1].task))

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(run, number)
        assert sorted(ends) == sorted((f"task {number}", f"task {number}") for number in range(30))
        await simulator.wait_unsubscribed(P)


# Lost connections.


async def test_an_end_that_was_missed_is_looked_up(raw: RawOrchestrator) -> None:
    raw.rest[LOOK_UP] = {"id": "t1", "status": "completed", "output": {"n": 1}, "duration": 7}
    started = trio.Event()
    async with logged_in(raw) as client, trio.open_nursery() as nursery:

        async def cut() -> None:
            socket = await submitted(raw)
            await socket.send_event("task_started", taskId="t1")
            await started.wait()
            await socket.reset()

        nursery.start_soon(cut)
        result = await client.run_task(P, "sum", on_event=lambda _: started.set())
        assert (result.output, result.duration, result.caught_up) == ({"n": 1}, 7, True)
        assert [event.type for event in result.events] == ["task_started", "task_completed"]


async def test_a_failure_that_was_missed(raw: RawOrchestrator) -> None:
    raw.rest[LOOK_UP] = {"task": {"taskId": "t1", "status": "FAILED", "error": "boom"}}
    async with logged_in(raw) as client, trio.open_nursery() as nursery:

        async def cut() -> None:
            await (await submitted(raw)).drop()

        nursery.start_soon(cut)
        with pytest.raises(TaskFailed, match="boom") as failed:
            await client.run_task(P, "sum")
        assert failed.value.events[-1].caught_up


async def test_a_task_that_goes_on_after_the_cut(raw: RawOrchestrator) -> None:
    raw.rest[LOOK_UP] = {"id": "t1", "status": "running"}
    async with logged_in(raw) as client, trio.open_nursery() as nursery:

        async def cut() -> None:
            await (await submitted(raw)).drop()
            socket = await raw.connections.receive()
            while raw.requests[-1].path != f"/api/projects/{P}/tasks/t1":
                await trio.lowlevel.checkpoint()
            await socket.send_event("task_completed", taskId="t1", output="live")

        nursery.start_soon(cut)
        result = await client.run_task(P, "sum")
        assert (result.output, result.caught_up) == ("live", False)


async def test_a_cut_during_the_submission(raw: RawOrchestrator) -> None:
    """The final event may come before the response names the task."""
    raw.rest[LOOK_UP] = {"id": "t1", "status": "cancelled"}
    answered = raw.delays[SUBMIT] = trio.Event()
    async with logged_in(raw) as client, trio.open_nursery() as nursery:

        async def cut() -> None:
            await (await submitted(raw)).reset()
            await raw.connections.receive()
            while not client.progress.is_connected(P):
                await trio.lowlevel.checkpoint()
            answered.set()

        nursery.start_soon(cut)
        with pytest.raises(TaskCancelled):
            await client.run_task(P, "sum")


async def test_a_task_that_the_orchestrator_has_forgotten(raw: RawOrchestrator) -> None:
    async with logged_in(raw) as client, trio.open_nursery() as nursery:

        async def cut() -> None:
            await (await submitted(raw)).drop()

        nursery.start_soon(cut)
        with pytest.raises(NotFound):
            await client.run_task(P, "sum")


async def test_a_connection_that_is_given_up(raw: RawOrchestrator) -> None:
    async with logged_in(raw, reconnect_attempts=1) as client, trio.open_nursery() as nursery:

        async def go() -> None:
            await submitted(raw)
            await raw.go_away()

        nursery.start_soon(go)
        with pytest.raises(LinkGivenUp):
            await client.run_task(P, "sum")
        assert client.progress.get_connection_state(P) == "disconnected"


async def test_a_disconnect_by_the_program_itself(raw: RawOrchestrator) -> None:
    async with logged_in(raw) as client, trio.open_nursery() as nursery:

        async def disconnect() -> None:
            await submitted(raw)
            await client.progress.disconnect(P)

        nursery.start_soon(disconnect)
        with pytest.raises(Disconnected):
            await client.run_task(P, "sum")


# No useless submission, and no resource left.


async def test_nothing_is_submitted_without_a_connection(raw: RawOrchestrator) -> None:
    raw.default_upgrade = Refuse(404)
    async with logged_in(raw) as client:
        with pytest.raises(ProjectGone):
            await client.run_task(P, "sum")
    assert SUBMIT.partition(" ")[2] not in [request.path for request in raw.requests]


async def test_a_refused_submission(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        with pytest.raises(InvalidRequest, match="required"):
            await client.run_task(P)
        await simulator.wait_unsubscribed(P)


async def test_a_cancelled_wait_leaves_nothing_behind(raw: RawOrchestrator) -> None:
    async with logged_in(raw) as client:
        await client.projects.list()
        before = trio.lowlevel.current_statistics().tasks_living
        streams = len(raw._streams)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:

                async def begin() -> None:
                    socket = await submitted(raw)
                    await socket.send_event("task_started", taskId="t1")
                    await socket.closed.wait()

                nursery.start_soon(begin)
                # Only after the response: a request that is cancelled midway closes its connection.
                await client.run_task(P, "sum", on_event=lambda _: scope.cancel())
            assert scope.cancelled_caught
        while len(raw._streams) > streams or client.progress.get_connection_state(P) != "disconnected":
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_callback_that_raises_does_not_end_the_waiting(raw: RawOrchestrator) -> None:
    reported: list[str] = []

    def broken(event: Event) -> None:
        raise ZeroDivisionError

    async with (
        logged_in(raw, on_error=lambda error, event: reported.append(event.type)) as client,
        trio.open_nursery() as nursery,
    ):

        async def complete() -> None:
            socket = await submitted(raw)
            await socket.send_bytes_raw(
                frame(event_text("output", P, taskId="t1")) + frame(event_text("task_completed", P, taskId="t1"))
            )

        nursery.start_soon(complete)
        await client.run_task(P, "sum", on_event=broken)
    assert reported == ["output", "task_completed"]


async def test_of_very_many_events_the_newest_are_kept(raw: RawOrchestrator) -> None:
    async with logged_in(raw, result_limit=3) as client, trio.open_nursery() as nursery:

        async def complete() -> None:
            socket = await submitted(raw)
            for _ in range(10):
                await socket.send_event("output", taskId="t1")
            await socket.send_event("task_completed", taskId="t1")

        nursery.start_soon(complete)
        result = await client.run_task(P, "sum")
        assert [event.type for event in result.events] == ["output", "output", "task_completed"]
