"""Live hooks: their events and order, and the effect of slow or broken ones."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from aintandem_notify.api import Event, Plugin, PluginConfig, PluginNotReady, Project, hookimpl
from aintandem_notify.domain.events import (
    AgentStartedEvent,
    ConnectionConnectedEvent,
    Family,
    SandboxErrorEvent,
    TaskOutputEvent,
    UnknownEvent,
    WorkflowExecutionFailedEvent,
)
from aintandem_notify.plugins import InstanceState
from aintandem_notify.plugins.runtime.live_hooks import (
    CHARACTERS_PER_SLOT,
    MAX_QUEUE_SLOTS,
    LiveQueue,
    hooks_by_family,
    queue_slots,
)
from support.hosting import NOON, good, hosting, task_failed, until

SALES = Project(id="project-1", name="Sales pipeline")

ONE_OF_EACH: list[Event] = [
    task_failed(),
    WorkflowExecutionFailedEvent(timestamp=NOON, project_id="project-1", execution_id="e", workflow_id="w"),
    SandboxErrorEvent(timestamp=NOON, project_id="project-1", sandbox_id="s"),
    ConnectionConnectedEvent(timestamp=NOON, project_id="project-1"),
    AgentStartedEvent(timestamp=NOON),
    UnknownEvent(timestamp=NOON, type="moon_landed"),
]


def watcher() -> Any:
    """A plugin with every live hook; ``seen`` of its class lists (hook, event type)."""

    class Watcher(Plugin[PluginConfig]):
        seen: list[tuple[str, str]] = []  # noqa: RUF012  # of this class only

        @hookimpl
        async def on_event(self, event: Event) -> None:
            self.seen.append(("on_event", event.type))

        @hookimpl
        async def on_task_event(self, event: Event) -> None:
            self.seen.append(("on_task_event", event.type))

        @hookimpl
        async def on_workflow_event(self, event: Event) -> None:
            self.seen.append(("on_workflow_event", event.type))

        @hookimpl
        async def on_sandbox_event(self, event: Event) -> None:
            self.seen.append(("on_sandbox_event", event.type))

        @hookimpl
        async def on_connection_event(self, event: Event) -> None:
            self.seen.append(("on_connection_event", event.type))

    return Watcher


async def test_each_hook_sees_its_family_and_one_sees_all(autojump_clock: MockClock) -> None:
    plugin = watcher()
    async with hosting(watcher=plugin) as bench:
        await bench.load("watcher")
        for event in ONE_OF_EACH:
            bench.host.publish(event, SALES)
    assert plugin.seen == [
        ("on_event", "task_failed"),
        ("on_task_event", "task_failed"),
        ("on_event", "workflow_execution_failed"),
        ("on_workflow_event", "workflow_execution_failed"),
        ("on_event", "sandbox_error"),
        ("on_sandbox_event", "sandbox_error"),
        ("on_event", "connection_connected"),
        ("on_connection_event", "connection_connected"),
        ("on_event", "agent_started"),
        ("on_event", "moon_landed"),
    ]


@pytest.mark.parametrize(
    ("settings", "project", "types"),
    [
        ({}, SALES, [event.type for event in ONE_OF_EACH]),
        ({"events": ("task_*",)}, SALES, ["task_failed"]),
        ({"events": ("*",)}, SALES, ["task_failed", "workflow_execution_failed", "sandbox_error"]),
        ({"events": ("agent/*",)}, SALES, ["agent_started"]),
        ({"projects": ("Sales*",)}, SALES, [event.type for event in ONE_OF_EACH]),
        ({"projects": ("other",)}, SALES, []),
        ({"projects": ("Sales*",), "events": ("task/*",)}, None, []),
    ],
)
async def test_a_watcher_is_filtered_by_its_events_and_projects(
    autojump_clock: MockClock, settings: dict[str, Any], project: Project | None, types: list[str]
) -> None:
    plugin = watcher()
    async with hosting(watcher=plugin) as bench:
        await bench.load("watcher", **settings)
        for event in ONE_OF_EACH:
            bench.host.publish(event, project)
    assert [event_type for hook, event_type in plugin.seen if hook == "on_event"] == types


async def test_the_key_events_of_a_destination_does_not_filter_its_live_hooks(autojump_clock: MockClock) -> None:
    plugin = good()
    async with hosting(good=plugin) as bench:
        await bench.load("good", events=("task_failed",), projects=("other",))
        for event in ONE_OF_EACH:
            bench.host.publish(event, SALES)
    assert plugin.seen == ONE_OF_EACH


async def test_publishing_is_of_use_only_while_somebody_watches(autojump_clock: MockClock) -> None:
    class Silent(Plugin[PluginConfig]):
        @hookimpl
        async def deliver(self, notification: Any) -> None:
            """Accepts it."""

    async with hosting(silent=Silent, watcher=watcher()) as bench:
        assert not bench.host.has_live_hooks()
        await bench.load("silent")
        assert not bench.host.has_live_hooks()
        await bench.load("watcher")
        assert bench.host.has_live_hooks()
        await bench.host.stop("watcher.x")
        assert not bench.host.has_live_hooks()
        bench.host.publish(task_failed(), None)


async def test_hooks_that_are_def_and_async_keep_their_order() -> None:
    class Mixed(Plugin[PluginConfig]):
        seen: list[tuple[str, str]] = []  # noqa: RUF012  # of this class only

        @hookimpl
        def on_event(self, event: Event) -> None:
            self.seen.append(("def", event.type))

        @hookimpl
        async def on_task_event(self, event: Event) -> None:
            self.seen.append(("async def", event.type))

    async with hosting(mixed=Mixed) as bench:
        await bench.load("mixed")
        for event in ONE_OF_EACH[:2]:
            bench.host.publish(event, None)
        # Within the block: a stop gives queued events only two seconds.
        await until(lambda: len(Mixed.seen), lambda count: count == 3)
    assert Mixed.seen == [
        ("def", "task_failed"),
        ("async def", "task_failed"),
        ("def", "workflow_execution_failed"),
    ]


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(1), GeneratorExit(), KeyboardInterrupt()])
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_live_hook_that_raises_misses_nothing_and_is_counted(error: BaseException, is_async: bool) -> None:
    seen = []

    def fail(event: Event) -> None:
        seen.append(event)
        raise error

    class Async(Plugin[PluginConfig]):
        @hookimpl
        async def on_event(self, event: Event) -> None:
            fail(event)

    class Sync(Plugin[PluginConfig]):
        @hookimpl
        def on_event(self, event: Event) -> None:
            fail(event)

    plugin = good()
    async with hosting(good=plugin, bad=Async if is_async else Sync) as bench:
        await bench.load("good")
        name = await bench.load("bad")
        for number in range(20):
            bench.host.publish(task_failed(number), None)
        # Within the block: a stop gives queued events only two seconds.
        await until(lambda: bench.status(name).hook_errors, lambda count: count == 20)
        await until(lambda: len(plugin.seen), lambda count: count == 20)
    assert (len(seen), len(plugin.seen)) == (20, 20)
    assert bench.status(name).hook_errors == 20
    assert bench.failures == []


async def test_the_same_trouble_is_logged_once(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    class Bad(Plugin[PluginConfig]):
        errors: list[Exception] = [ValueError("a"), KeyError("b"), ValueError("c")]  # noqa: RUF012

        @hookimpl
        async def on_event(self) -> None:
            raise self.errors.pop(0)

    async with hosting(bad=Bad) as bench:
        await bench.load("bad")
        for number in range(3):
            bench.host.publish(task_failed(number), None)
    captured = capsys.readouterr()
    lines = [line for line in (captured.out + captured.err).splitlines() if "live hook raised" in line]
    assert len(lines) == 2
    assert "ValueError: a" in lines[0]
    assert "KeyError: 'b'" in lines[1]
    assert all("bad.x" in line and "on_event" in line for line in lines)


async def test_a_live_hook_that_hangs_is_cut_and_drops_the_newest(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    class Hanging(Plugin[PluginConfig]):
        seen: list[Event] = []  # noqa: RUF012  # of this class only

        @hookimpl
        async def on_event(self, event: Event) -> None:
            self.seen.append(event)
            if len(self.seen) == 1:
                await trio.sleep_forever()

    plugin = good()
    async with hosting(good=plugin, bad=Hanging) as bench:
        await bench.load("good")
        name = await bench.load("bad", timeout=5.0)
        await bench.host.wait_loaded(name)
        bench.host.publish(task_failed(0), None)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(1, MAX_QUEUE_SLOTS + 11):
            bench.host.publish(task_failed(number), None)
            await trio.testing.wait_all_tasks_blocked()
        assert bench.status(name).dropped_events == 10
        await trio.sleep(6.0)
        assert bench.status(name).state is InstanceState.LOADED
        bench.host.publish(task_failed(-1), None)
    assert len(plugin.seen) == MAX_QUEUE_SLOTS + 12
    assert [event.run_id for event in Hanging.seen] == [
        *(f"task-{number}" for number in range(MAX_QUEUE_SLOTS + 1)),
        "task--1",
    ]
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count("events are dropped") == 1


async def test_events_during_set_up_wait_and_those_of_a_broken_instance_are_counted(
    autojump_clock: MockClock,
) -> None:
    class Slow(Plugin[PluginConfig]):
        seen: list[Event] = []  # noqa: RUF012  # of this class only
        faults: list[Exception | None] = [None, PluginNotReady("gone")]  # noqa: RUF012

        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            await trio.sleep(1)
            if fault := self.faults.pop(0):
                raise fault
            self.context.nursery.start_soon(self._crash)
            yield

        async def _crash(self) -> None:
            await trio.sleep(10)
            raise ValueError("boom")

        @hookimpl
        async def on_event(self, event: Event) -> None:
            self.seen.append(event)

    async with hosting(bad=Slow) as bench:
        name = await bench.start("bad")
        bench.host.publish(task_failed(1), None)
        await trio.sleep(2)
        assert Slow.seen == [task_failed(1)]
        await trio.sleep(9.5)
        assert bench.status(name).state is InstanceState.RETRYING
        bench.host.publish(task_failed(2), None)
    assert Slow.seen == [task_failed(1)]
    assert bench.status(name).dropped_events == 1


def output(size: int) -> TaskOutputEvent:
    """An output event of ``size`` characters."""
    return TaskOutputEvent(timestamp=NOON, project_id="p", task_id="t", output="x" * size)


def test_large_events_take_more_places() -> None:
    assert queue_slots(task_failed()) == 1
    assert queue_slots(output(CHARACTERS_PER_SLOT - 1)) == 1
    assert queue_slots(output(10 * CHARACTERS_PER_SLOT)) == 11


async def test_a_queue_is_bounded_by_places_and_takes_one_event_of_any_size(autojump_clock: MockClock) -> None:
    queue = LiveQueue(["on_event"], None)
    assert not queue.put(output(2 * MAX_QUEUE_SLOTS * CHARACTERS_PER_SLOT))
    assert queue.put(task_failed(1))
    assert not queue.put(task_failed(2))
    assert queue.dropped == 2
    assert len(await queue.take()) == 1
    assert not queue.put(task_failed(3))
    queue.clear()
    assert queue.dropped == 3
    queue.close()
    assert await queue.take() == []
    assert queue.put(task_failed(4)) is False
    assert queue.dropped == 4


def test_the_table_of_families() -> None:
    everything = ["on_connection_event", "on_sandbox_event", "on_workflow_event", "on_task_event", "on_event"]
    assert hooks_by_family(everything) == {
        Family.TASK: ("on_event", "on_task_event"),
        Family.WORKFLOW: ("on_event", "on_workflow_event"),
        Family.SANDBOX: ("on_event", "on_sandbox_event"),
        Family.CONNECTION: ("on_event", "on_connection_event"),
        Family.WATCH: ("on_event",),
        Family.AGENT: ("on_event",),
        Family.UNKNOWN: ("on_event",),
    }
    assert not any(hooks_by_family([]).values())
