"""Callbacks of subscriptions, over real sockets: their order, their errors, and slow ones."""

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from aintandem_notify import AInTandemClient, Event
from aintandem_notify.client.channels.subscriber_queue import CAPACITY
from support.clients import logged_in
from support.raw_orchestrator import RawOrchestrator, event_text, frame
from support.recorder import Recorder

P = "project-123"


async def test_an_async_callback_is_awaited_and_in_order(raw: RawOrchestrator) -> None:
    order: list[str] = []
    done = trio.Event()

    async def slow(event: Any) -> None:
        order.append(f"begin {event.task_id}")
        await trio.testing.wait_all_tasks_blocked()
        order.append(f"end {event.task_id}")
        if event.task_id == "2":
            done.set()

    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, slow)
        socket = await raw.connections.receive()
        await socket.send_event("task_started", taskId="1")
        await socket.send_event("task_started", taskId="2")
        await done.wait()
    assert order == ["begin 1", "end 1", "begin 2", "end 2"]


async def test_a_callback_that_raises_hurts_only_itself(
    raw: RawOrchestrator, capsys: pytest.CaptureFixture[str]
) -> None:
    reported: list[tuple[str, str]] = []
    received, done = Recorder(), Recorder()

    def broken(event: Event) -> None:
        raise ZeroDivisionError(event.run_id)

    async def broken_too(event: Event) -> None:
        raise LookupError(event.run_id)

    def on_error(error: Exception, value: Any) -> None:
        reported.append((type(error).__name__, value.task_id))
        raise RuntimeError("on_error as well")

    async with logged_in(raw, on_error=on_error) as client:
        await client.subscribe_to_task(P, "1", broken, done)
        await client.progress.subscribe_to_progress(P, broken_too)
        await client.progress.subscribe_to_progress(P, received)
        socket = await raw.connections.receive()
        await socket.send_event("task_completed", taskId="1")
        await socket.send_event("task_completed", taskId="2")
        await received.count(2)
        await done.count(1)
        await trio.testing.wait_all_tasks_blocked()
    assert sorted(reported) == [("LookupError", "1"), ("LookupError", "2"), ("ZeroDivisionError", "1")]
    log_output = capsys.readouterr().err
    assert log_output.count("a callback raised; more from it goes to on_error only") == 2
    assert "on_error itself raised" in log_output


async def test_unsubscribing_before_the_callback_for_how_it_ended(raw: RawOrchestrator) -> None:
    ended = Recorder()
    async with logged_in(raw) as client:
        unsubscribe = await client.subscribe_to_task(P, "t1", lambda _: unsubscribe(), ended, ended)
        socket = await raw.connections.receive()
        await socket.send_event("task_completed", taskId="t1")
        await socket.closed.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert ended.all == []


async def test_unsubscribing_while_a_callback_waits(raw: RawOrchestrator) -> None:
    began, goes_on, ended = trio.Event(), trio.Event(), Recorder()

    async def slow(_event: Event) -> None:
        began.set()
        await goes_on.wait()

    async with logged_in(raw) as client:
        unsubscribe = await client.subscribe_to_task(P, "t1", slow, ended)
        socket = await raw.connections.receive()
        await socket.send_event("task_completed", taskId="t1")
        await began.wait()
        unsubscribe()
        goes_on.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert ended.all == []


class Runner:
    """A callback that runs a task of its own project at its first call, and waits for its end."""

    def __init__(self, client: AInTandemClient, on_event: Any = None, *, in_a_nursery: bool = False) -> None:
        self.outputs: list[Any] = []
        self.calls = 0
        self._client = client
        self._on_event = on_event
        self._in_a_nursery = in_a_nursery

    async def __call__(self, _event: Event) -> None:
        self.calls += 1
        if self.calls == 1 and self._in_a_nursery:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run)
        elif self.calls == 1:
            await self._run()

    async def _run(self) -> None:
        self.outputs.append((await self._client.run_task(P, "inner", on_event=self._on_event)).output)


# A queue that is nearly full takes one more batch of the link: 4,000 frames, and a read of some 2,000.
FLOOD = 9 * CAPACITY // 2
"""More events than can wait for a slow reader, including those in socket buffers."""


async def flood(raw: RawOrchestrator, *last: str, submitted: int = 1) -> None:
    """Once so many tasks are submitted, send very many events of other tasks, and then ``last``."""
    socket = await raw.connections.receive()
    await socket.send_event("task_started", taskId="outer")
    while [request.path for request in raw.requests].count(f"/api/projects/{P}/tasks") < submitted:
        await trio.testing.wait_all_tasks_blocked(0.01)
    others = [event_text("output", P, taskId="outer", output=str(n)) for n in range(FLOOD)]
    await socket.send_bytes_raw(b"".join(map(frame, [*others, *last])))


ENDED = event_text("task_completed", P, taskId="inner", output="done")


@pytest.mark.parametrize("in_a_nursery", [False, True])
async def test_a_callback_may_wait_for_a_task_of_its_own_project(raw: RawOrchestrator, in_a_nursery: bool) -> None:
    """The final event of the task follows more events than may wait for the callback."""
    raw.rest[f"POST /api/projects/{P}/tasks"] = {"taskId": "inner"}
    async with logged_in(raw) as client:
        runner = Runner(client, in_a_nursery=in_a_nursery)
        await client.progress.subscribe_to_progress(P, runner)
        await flood(raw, ENDED)
        while runner.calls < FLOOD + 2:
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert runner.outputs == ["done"]


async def test_a_callback_of_run_task_may_wait_for_another_task(raw: RawOrchestrator) -> None:
    raw.rest[f"POST /api/projects/{P}/tasks"] = {"taskId": "outer"}

    async def run_the_inner_one(event: Event) -> None:
        if event.type == "task_started":
            raw.rest[f"POST /api/projects/{P}/tasks"] = {"taskId": "inner"}
            results.append(await client.run_task(P))

    results: list[Any] = []
    async with logged_in(raw) as client, trio.open_nursery() as nursery:
        last = event_text("task_completed", P, taskId="outer", output="all done")
        nursery.start_soon(partial(flood, raw, ENDED, last, submitted=2))
        results.append(await client.run_task(P, on_event=run_the_inner_one))
    assert [result.output for result in results] == ["done", "all done"]
    assert len(results[1].events) == FLOOD + 2


async def test_a_callback_that_is_slow_on_its_own_holds_back_all_the_same(raw: RawOrchestrator) -> None:
    """Also while another task of the program waits for a task."""
    raw.rest[f"POST /api/projects/{P}/tasks"] = {"taskId": "inner"}
    goes_on, results = trio.Event(), Recorder()

    async def slow(_event: Event) -> None:
        await goes_on.wait()

    async def run(client: AInTandemClient) -> None:
        results((await client.run_task(P)).output)

    async with logged_in(raw) as client, trio.open_nursery() as nursery:
        await client.progress.subscribe_to_progress(P, slow)
        nursery.start_soon(run, client)
        nursery.start_soon(flood, raw, ENDED)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert results.all == []
        goes_on.set()
        await results.count(1)


async def test_unsubscribing_inside_of_a_callback(raw: RawOrchestrator) -> None:
    received: list[str] = []
    finished = trio.Event()

    async def once(event: Event) -> None:
        received.append(event.type)
        subscription.unsubscribe()
        await trio.lowlevel.checkpoint()
        finished.set()

    async with logged_in(raw) as client:
        subscription = await client.progress.subscribe_to_progress(P, once)
        socket = await raw.connections.receive()
        text = frame(event_text("task_started", P, taskId="t1"))
        await socket.send_bytes_raw(text + text)
        await finished.wait()
        await socket.closed.wait()
    assert received == ["task_started"]


async def test_a_slow_callback_holds_the_socket_back(raw: RawOrchestrator) -> None:
    going, received = trio.Event(), Recorder()

    async def slow(event: Event) -> None:
        await going.wait()
        received(event)

    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, slow)
        socket = await raw.connections.receive()
        text = frame(event_text("output", P, taskId="t1", output="x" * 1000)) * 100
        async with trio.open_nursery() as nursery:
            sent = []

            async def blast() -> None:
                for _ in range(300):
                    await socket.blast(text)
                    sent.append(100)

            nursery.start_soon(blast)
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert sum(sent) < 30_000, "the other side has to wait"
            going.set()
        await received.count(30_000)
        assert len(received.all) == 30_000


async def test_with_a_buffer_a_slow_callback_loses_and_counts(raw: RawOrchestrator) -> None:
    going, received, fast = trio.Event(), Recorder(), Recorder()

    async def slow(event: Event) -> None:
        await going.wait()
        received(event)

    async with logged_in(raw) as client:
        subscription = await client.progress.subscribe_to_progress(P, slow, buffer=10)
        await client.progress.subscribe_to_progress(P, fast)
        socket = await raw.connections.receive()
        await socket.send_event("task_started", taskId="first")
        await fast.count(1)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            await socket.blast(frame(event_text("output", P, taskId=str(number))), 1000)
        await fast.count(5001)
        going.set()
        await received.count(11)
        assert received.all[0].task_id == "first"
        assert received.all[1:] == fast.all[-10:], "the newest stay"
        assert subscription.dropped == 4990
