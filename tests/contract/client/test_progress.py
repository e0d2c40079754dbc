"""The library's connections and subscriptions over real sockets."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from aintandem_notify import (
    AInTandemClient,
    AuthenticationFailed,
    ConnectionChange,
    ConnectionState,
    Disconnected,
    Event,
    LinkGivenUp,
    LinkLost,
    LinkRefused,
    NotLoggedIn,
    ProjectGone,
    TaskEvent,
    UnknownEvent,
    WorkflowEvent,
)
from aintandem_notify.client.channels import channel
from aintandem_notify.client.channels.subscriber_queue import CAPACITY
from aintandem_notify.simulator.demo import all_types
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.testing import SIMULATOR_SPEED
from support.clients import client_of, logged_in
from support.raw_orchestrator import (
    Accept,
    RawOrchestrator,
    Refuse,
    RestAnswer,
    event_text,
    frame,
    open_raw_orchestrator,
)

P = "project-123"
CLOSED = ["disconnecting", "disconnected"]


@pytest.fixture
async def raw() -> AsyncIterator[RawOrchestrator]:
    async with open_raw_orchestrator() as server:
        yield server


class Recorder:
    """A callback that collects its arguments, and a way to wait for more."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._arrived = trio.Event()

    def __call__(self, value: Any) -> None:
        self.all.append(value)
        self._arrived.set()
        self._arrived = trio.Event()

    async def until(self, met: Callable[["Recorder"], bool]) -> None:
        while not met(self):
            await self._arrived.wait()

    async def count(self, count: int) -> None:
        await self.until(lambda received: len(received.all) >= count)

    @property
    def types(self) -> list[str]:
        return [value.type for value in self.all]


# Subscriptions.


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


# Callbacks.


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


FLOOD = 3 * CAPACITY
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


# Streams.


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


# History.


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


# Connections and their listeners.


async def test_a_listener_hears_every_change(raw: RawOrchestrator) -> None:
    raw.upgrade_answers += [Refuse(503), Refuse(503)]
    received, states, late = Recorder(), [], Recorder()
    async with logged_in(raw) as client:

        async def listen(change: ConnectionChange) -> None:
            states.append(client.progress.get_connection_state(P))
            received(change)

        stop = client.progress.on_connection_state(P, listen)
        assert client.progress.get_connection_state(P) is ConnectionState.DISCONNECTED
        await client.progress.connect(P)
        await received.count(3)
        late_stop = client.progress.on_connection_state(P, late)
        socket = await raw.connections.receive()
        await socket.close(1012, "restart")
        await raw.connections.receive()
        await received.count(5)
        await late.count(2)
        late_stop()
        await client.progress.disconnect(P)
        await received.count(7)
        stop()
        stop()
        await client.progress.connect(P)
    assert received.types == ["error", "error", "connected", "disconnected", "connected", *CLOSED]
    refused, _, _, lost, _, _, ended = received.all
    assert refused.error == "the orchestrator did not open a WebSocket (HTTP 503)"
    assert (refused.will_reconnect, refused.project_id) == (True, P)
    assert (lost.code, lost.reason, lost.will_reconnect) == (
        1012,
        "the orchestrator restarts (1012: restart)",
        True,
    )
    assert (ended.code, ended.reason, ended.will_reconnect) == (1000, "the program disconnected", False)
    assert late.types == ["disconnected", "connected"]
    assert states[2] == "connected"


async def test_leaving_the_block_is_reported_to_listeners(simulator: Simulator) -> None:
    received = Recorder()
    async with logged_in(simulator) as client:
        client.progress.on_connection_state(P, received)
        await client.progress.connect(P)
    assert received.types == ["connected", *CLOSED]


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Refuse(404), ProjectGone), (Refuse(401), LinkRefused), (Refuse(403), LinkRefused)],
)
async def test_a_wrong_project_and_a_refusal_are_raised_at_once(
    raw: RawOrchestrator, answer: Refuse, error: type[Exception]
) -> None:
    raw.default_upgrade = answer
    received = Recorder()
    async with logged_in(raw, reconnect_initial_delay=1000, reconnect_max_delay=1000) as client:
        client.progress.on_connection_state(P, received)
        for ask in (client.progress.connect, lambda project: client.subscribe_to_sandbox(project, print)):
            with pytest.raises(error, match=f"project {P}: ") as raised:
                await ask(P)
            assert raised.value.project_id == P  # type: ignore[attr-defined]
            assert client.progress.get_connection_state(P) == "disconnected"
        await received.until(lambda received: sum(not change.will_reconnect for change in received.all) == 2)
        with pytest.raises(error):
            async with client.progress.events(P):
                pass


NO_IDS = [("", ValueError), ("..", ValueError), ("x" * 513, ValueError), ("a\ud800", ValueError), (5, TypeError)]


@pytest.mark.parametrize(("wrong", "error"), [*NO_IDS, (None, TypeError)])
async def test_an_invalid_project_affects_no_other(
    simulator: Simulator, wrong: Any, error: type[Exception]
) -> None:
    received = Recorder()
    async with logged_in(simulator) as client:
        progress = client.progress
        await progress.subscribe_to_progress(P, received)
        for ask in (
            lambda: progress.connect(wrong),
            lambda: progress.subscribe_to_progress(wrong, print),
            lambda: client.subscribe_to_task(wrong, "t", print),
            lambda: client.run_task(wrong, "data-analysis"),
            lambda: progress.events(wrong).__aenter__(),
            lambda: progress.disconnect(wrong),
        ):
            with pytest.raises(error, match="project_id "):
                await ask()
        for look in (progress.is_connected, progress.get_connection_state, progress.history):
            with pytest.raises(error, match="project_id "):
                look(wrong)
        with pytest.raises(error, match="project_id "):
            progress.on_connection_state(wrong, print)
        simulator.sandboxes.create(P)
        await received.count(1)


@pytest.mark.parametrize(("wrong", "error"), NO_IDS)
async def test_invalid_ids_of_runs(simulator: Simulator, wrong: Any, error: type[Exception]) -> None:
    async with logged_in(simulator) as client:
        for what, subscribe in (
            ("task_id", lambda: client.subscribe_to_task(P, wrong, print)),
            ("workflow_id", lambda: client.subscribe_to_workflow(P, print, wrong)),
            ("execution_id", lambda: client.subscribe_to_workflow(P, print, execution_id=wrong)),
            ("sandbox_id", lambda: client.subscribe_to_sandbox(P, print, wrong)),
            ("task_id", lambda: client.progress.events(P, task_id=wrong).__aenter__()),
        ):
            with pytest.raises(error, match=f"{what} "):
                await subscribe()
        with pytest.raises(TypeError, match="task_id should be a str, not NoneType"):
            await client.subscribe_to_task(P, None, print)  # type: ignore[arg-type]
        assert not client.progress.is_connected(P)


async def test_callbacks_that_are_not_callable(simulator: Simulator) -> None:
    wrong: Any = 5
    async with logged_in(simulator) as client:
        for what, subscribe in (
            ("on_event", lambda: client.subscribe_to_task(P, "t", wrong)),
            ("on_event", lambda: client.subscribe_to_workflow(P, wrong)),
            ("on_event", lambda: client.subscribe_to_sandbox(P, wrong)),
            ("on_event", lambda: client.progress.subscribe_to_progress(P, wrong)),
            ("on_event", lambda: client.run_task(P, "data-analysis", on_event=wrong)),
            ("the callback for task_failed", lambda: client.subscribe_to_task(P, "t", print, None, wrong)),
        ):
            with pytest.raises(TypeError, match=f"{what} should be a function or another callable, not int"):
                await subscribe()
        with pytest.raises(TypeError, match="on_change should be a function"):
            client.progress.on_connection_state(P, wrong)
        with pytest.raises(TypeError, match="on_event should be a function or another callable, not NoneType"):
            await client.progress.subscribe_to_progress(P, None)  # type: ignore[arg-type]
        assert not client.progress.is_connected(P)
        assert not simulator.world.history, "no task was submitted"


async def test_a_raised_error_is_not_logged_as_well(raw: RawOrchestrator) -> None:
    with capture_logs() as logs:
        async with client_of(raw) as client:
            with pytest.raises(NotLoggedIn):
                await client.progress.connect(P)
            await client.auth.login("admin", "admin123")
            for answer in (Refuse(404), Refuse(401)):
                raw.default_upgrade = answer
                with pytest.raises((ProjectGone, LinkRefused)):
                    await client.progress.connect(P)
        async with client_of(raw, token="not-accepted") as client:
            raw.default_upgrade = Refuse(401)
            with pytest.raises(AuthenticationFailed):
                await client.progress.connect(P)
    assert not [line for line in logs if line["log_level"] not in ("debug", "info")]


async def test_a_login_that_is_refused_later(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        async with client.progress.events(P) as events:
            simulator.refuse_logins(100)
            simulator.expire_tokens(refresh_tokens=True, close_code=4401)
            with pytest.raises(AuthenticationFailed, match="invalid username or password"):
                await anext(events)
        assert client.progress.get_connection_state(P) == "disconnected"


async def test_a_dead_server_is_given_up_after_so_many_tries(raw: RawOrchestrator) -> None:
    received = Recorder()
    async with logged_in(raw, reconnect_attempts=3) as client:
        client.progress.on_connection_state(P, received)
        await raw.go_away()
        with pytest.raises(LinkGivenUp, match="no connection, and no try is left") as given_up:
            await client.progress.connect(P)
        assert isinstance(given_up.value, LinkLost)
        assert isinstance(given_up.value.__cause__, LinkLost)
        assert client.progress.get_connection_state(P) == "disconnected"
        await received.count(4)
        assert [change.will_reconnect for change in received.all] == [True, True, True, False]
        raw.come_back()
        await client.progress.connect(P)
        assert client.progress.is_connected(P)


async def test_a_task_that_waits_when_the_connection_is_given_up_gets_an_error(raw: RawOrchestrator) -> None:
    received = Recorder()
    async with logged_in(raw, reconnect_attempts=1) as client:
        await client.progress.subscribe_to_progress(P, received)
        async with client.progress.events(P) as events:
            socket = await raw.connections.receive()
            await socket.send_event("task_started", taskId="t1")
            await raw.go_away()
            assert (await anext(events)).run_id == "t1"
            for _ in range(2):
                with pytest.raises(LinkGivenUp):
                    await anext(events)
        raw.come_back()
        await client.progress.connect(P)
        await (await raw.connections.receive()).send_event("task_started", taskId="t2")
        await received.until(lambda received: received.all[-1].run_id == "t2")


async def test_a_silent_server_is_lost(raw: RawOrchestrator, mock_clock: trio.testing.MockClock) -> None:
    received = Recorder()
    async with logged_in(raw, heartbeat_interval=1.0, connect_timeout=100.0) as client:
        client.progress.on_connection_state(P, received)
        await client.progress.connect(P)
        (await raw.connections.receive()).fall_silent()
        while len(received.all) < 3:
            # In steps: first for the silence, then for the pause before the next try.
            mock_clock.jump(0.1)
            await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.rate = 1.0  # closing takes a moment
        assert received.types == ["connected", "disconnected", "connected"]
        assert "nothing was heard" in received.all[1].reason


# Missed ends.


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


# The end.


async def test_cancelling_leaves_nothing_behind(raw: RawOrchestrator) -> None:
    raw.default_upgrade = Refuse(503)
    async with logged_in(raw, reconnect_initial_delay=1000, reconnect_max_delay=1000) as client:
        for wait in (
            lambda: client.progress.connect(P),
            lambda: client.progress.subscribe_to_progress(P, print),
            lambda: client.progress.events(P).__aenter__(),
        ):
            with trio.move_on_after(0.05) as scope:
                await wait()
            assert scope.cancelled_caught
            while client.progress.get_connection_state(P) != "disconnected":
                await trio.lowlevel.checkpoint()


async def test_a_cancelled_connect_keeps_an_open_connection(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        await client.progress.connect(P)
        simulator.drop(P)
        while client.progress.is_connected(P):
            await trio.lowlevel.checkpoint()
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.progress.connect(P)
        await client.progress.connect(P)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert client.progress.is_connected(P)


async def test_a_cancelled_connect_leaves_the_connection_to_others(simulator: Simulator) -> None:
    async with logged_in(simulator) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.progress.connect, P)
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.progress.connect(P)
        await client.progress.connect(P)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert client.progress.is_connected(P)


async def test_leaving_ends_every_task_and_socket(raw: RawOrchestrator) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, print)
        await client.subscribe_to_task("project-456", "t1", print)
        client.progress.on_connection_state("nobody", print)
        assert trio.lowlevel.current_statistics().tasks_living > before + 4
    while raw._streams:
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert [socket.close_code for socket in raw.sockets] == [1000, 1000], "each with a word of goodbye"


async def test_a_stuck_callback_does_not_hold_the_end_back(raw: RawOrchestrator) -> None:
    stuck = trio.Event()

    async def hang(_: Event) -> None:
        stuck.set()
        await trio.sleep_forever()

    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, hang)
        await (await raw.connections.receive()).send_event("task_started", taskId="t1")
        await stuck.wait()


async def test_events_that_were_read_are_delivered_before_the_end(
    raw: RawOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aintandem_notify.client.client.GRACE_S", 60.0)  # even if the machine stalls
    received: list[str | None] = []
    first = trio.Event()

    async def slow(event: Event) -> None:
        first.set()
        await socket.closed.wait()
        received.append(event.run_id)

    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, slow)
        socket = await raw.connections.receive()
        await socket.send_bytes_raw(b"".join(frame(event_text("output", P, taskId=str(n))) for n in range(5)))
        await first.wait()
    assert received == ["0", "1", "2", "3", "4"]


class Mine(Exception):
    """An exception of the program."""


async def test_an_exception_of_the_block_comes_out_as_it_is(simulator: Simulator) -> None:
    with pytest.raises(Mine) as mine:
        async with logged_in(simulator) as client, client.progress.events(P):
            raise Mine
    assert mine.value.__context__ is None
    group = ExceptionGroup("two", [Mine(), ValueError()])
    with pytest.raises(ExceptionGroup) as two:
        async with logged_in(simulator):
            raise group
    assert two.value is group


async def test_a_callback_that_ends_the_program(simulator: Simulator) -> None:
    def leave(_: Event) -> None:
        raise SystemExit(3)

    async def use() -> None:
        async with logged_in(simulator) as client:
            await client.progress.subscribe_to_progress(P, leave)
            simulator.sandboxes.create(P)
            await trio.sleep_forever()

    with pytest.raises(SystemExit):
        await use()


async def test_a_cancelled_block(simulator: Simulator) -> None:
    with trio.CancelScope() as scope:
        async with logged_in(simulator) as client:
            await client.progress.subscribe_to_progress(P, print)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await simulator.wait_unsubscribed(P)


async def test_waiting_tasks_when_the_client_closes(raw: RawOrchestrator) -> None:
    raw.default_upgrade = Refuse(503)
    ended: list[str] = []

    async def wait(client: AInTandemClient) -> None:
        with pytest.raises(Disconnected):
            await client.progress.connect(P)
        ended.append("connect")

    slowly = {"reconnect_initial_delay": 1000, "reconnect_max_delay": 1000}
    async with trio.open_nursery() as nursery, logged_in(raw, **slowly) as client:
        nursery.start_soon(wait, client)
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert ended == ["connect"]
