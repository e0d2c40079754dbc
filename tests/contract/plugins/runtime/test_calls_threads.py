"""``def`` hooks run in worker threads: one that blocks, exits or is late affects only its own instance.

All tests use real time. Events hold the threads; no test waits for a length of time.
"""

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.lowlevel
from outcome import Error, Value

from aintandem_notify.api import Event, Notification, Plugin, PluginConfig, RetryLater, hookimpl
from aintandem_notify.errors import PluginError
from aintandem_notify.plugins import DeadlineExceeded, InstanceState
from aintandem_notify.plugins.border import PluginCodeFailed
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from support.hosting import Bench, good, hosting, notification, task_failed, until

SHORT_S = 0.01
"""A deadline that the test exceeds."""


def runs(hook: str) -> re.Pattern[str]:
    """The reason for an overdue hook, without its seconds, which depend on the machine."""
    return re.compile(rf"{re.escape(hook)} has been running for \d+ s")


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Holds threads until it is set, at the latest at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def blocking(released: threading.Event) -> type[Plugin[Any]]:
    """A destination with a live hook; both wait for ``released`` in a thread."""

    class Blocking(Plugin[PluginConfig]):
        calls: list[str] = []  # noqa: RUF012  # of this class only

        @hookimpl
        def deliver(self, notification: Notification) -> dict[str, str]:
            self.calls.append(notification.id)
            assert released.wait(30)
            return {"for": notification.id}

        @hookimpl
        def on_event(self, event: Event) -> None:
            self.calls.append("on_event")
            assert released.wait(30)

        @hookimpl
        def check(self) -> None:
            assert released.wait(30)

    return Blocking


async def serves(bench: Bench) -> None:
    """The good plugin gets its event and its notification."""
    good_class: Any = bench.catalog.latest("good").plugin_class
    seen = len(good_class.seen)
    bench.host.publish(task_failed(), None)
    assert await bench.host.deliver("good.x", [notification()]) == [Value({"for": "ntf_1"})]
    await until(lambda: len(good_class.seen), lambda count: count == seen + 1)


async def test_a_def_runs_in_a_thread_and_its_batch_in_one() -> None:
    threads = []

    class Beep(Plugin[PluginConfig]):
        @hookimpl
        def deliver(self, notification: Notification) -> dict[str, str]:
            threads.append(threading.get_ident())
            return {"for": notification.id}

    async with hosting(bad=Beep) as bench:
        results = await bench.host.deliver(await bench.start("bad"), [notification(n) for n in range(3)])
    assert results == [Value({"for": f"ntf_{n}"}) for n in range(3)]
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SystemExit(1), PluginCodeFailed),
        (GeneratorExit(), PluginCodeFailed),
        (KeyboardInterrupt(), PluginCodeFailed),
        (RetryLater("busy"), RetryLater),
    ],
)
async def test_an_exception_in_a_thread_becomes_the_result(error: BaseException, kind: type[Exception]) -> None:
    class Raising(Plugin[PluginConfig]):
        @hookimpl
        def deliver(self, notification: Any) -> None:
            raise error

    async with hosting(good=good(), bad=Raising) as bench:
        await bench.start("good")
        [result] = await bench.host.deliver(await bench.start("bad"), [notification(1), notification(2)])
        assert isinstance(result, Error)
        assert type(result.error) is kind
        await serves(bench)


async def test_a_coroutine_out_of_a_def_is_junk() -> None:
    class Forgetful(Plugin[PluginConfig]):
        @hookimpl
        def deliver(self, notification: Any) -> Any:
            return trio.lowlevel.checkpoint()  # noqa: ASYNC105  # that is the mistake

    async with hosting(bad=Forgetful) as bench:
        [result] = await bench.host.deliver(await bench.start("bad"), [notification()])
    assert isinstance(result, Error)
    assert str(result.error) == "bad.x: deliver returned a coroutine; write it as async def"


async def test_a_late_def_keeps_its_destination_busy_and_its_result_counts(released: threading.Event) -> None:
    async with hosting(good=good(), bad=blocking(released)) as bench, trio.open_nursery() as nursery:
        await bench.start("good")
        name = await bench.load("bad", timeout=SHORT_S)
        results: list[Any] = []

        async def deliver() -> None:
            results.extend(await bench.host.deliver(name, [notification(1), notification(2)]))

        nursery.start_soon(deliver)
        status = await until(lambda: bench.status(name), lambda status: status.reason is not None)
        assert runs("deliver").fullmatch(status.reason or "")
        assert status.state is InstanceState.LOADED
        await serves(bench)
        assert results == []
        released.set()
    assert results == [Value({"for": "ntf_1"}), Value({"for": "ntf_2"})]
    assert bench.failures == []


async def test_a_stuck_def_fails_its_instance_until_it_ends_and_sends_nothing_twice(
    released: threading.Event,
) -> None:
    plugin: Any = blocking(released)
    async with hosting(good=good(), bad=plugin, stuck_after_s=SHORT_S) as bench, trio.open_nursery() as nursery:
        await bench.start("good")
        name = await bench.load("bad", timeout=SHORT_S)
        results: list[Any] = []

        async def deliver() -> None:
            results.extend(await bench.host.deliver(name, [notification(1)]))

        nursery.start_soon(deliver)
        status = await bench.until(name, InstanceState.FAILED)
        assert runs("deliver").fullmatch(status.reason or "")
        failed, why = bench.failures[-1]
        assert failed == name
        assert runs("deliver").fullmatch(why)
        assert results == []
        await serves(bench)
        # Its deadline passed, whether or not its thread had started.
        assert await until(lambda: list(plugin.calls), bool) == ["ntf_1"]
        released.set()
        await bench.host.wait_loaded(name)
    assert results == [Value({"for": "ntf_1"})]


async def test_an_instance_with_stuck_calls_is_well_once_the_last_has_ended(released: threading.Event) -> None:
    first = threading.Event()

    class Stuck(Plugin[PluginConfig]):
        @hookimpl
        def deliver(self, notification: Any) -> dict[str, str]:
            """Waits for its event."""
            assert (first if notification.id == "ntf_1" else released).wait(30)
            return {"for": notification.id}

    ended: list[DeliveryResult] = []
    async with hosting(bad=Stuck, stuck_after_s=SHORT_S) as bench, trio.open_nursery() as nursery:
        name = await bench.load("bad", timeout=SHORT_S, parallel=2)

        async def deliver(number: int) -> None:
            ended.extend(await bench.host.deliver(name, [notification(number)]))

        nursery.start_soon(deliver, 1)
        nursery.start_soon(deliver, 2)
        runner = bench.host._instances[name]._delivery_runner
        await until(lambda: [call.stuck for call in runner._running], lambda stuck: stuck == [True, True])
        assert bench.status(name).state is InstanceState.FAILED
        first.set()
        await until(lambda: len(ended), lambda count: count == 1)
        assert bench.status(name).state is InstanceState.FAILED
        released.set()
        await bench.host.wait_loaded(name)
    assert ended == [Value({"for": "ntf_1"}), Value({"for": "ntf_2"})]
    assert [instance for instance, _ in bench.failures] == [name]


async def test_a_blocked_thread_does_not_hold_the_exit_back(released: threading.Event) -> None:
    async with hosting(bad=blocking(released)) as bench, trio.open_nursery() as nursery:
        name = await bench.start("bad")
        nursery.start_soon(bench.host.deliver, name, [notification()])
        bench.host.publish(task_failed(), None)
        plugin: Any = bench.catalog.latest("bad").plugin_class
        await until(lambda: sorted(plugin.calls), lambda calls: calls == ["ntf_1", "on_event"])
        nursery.cancel_scope.cancel()
    assert bench.status(name).state is InstanceState.STOPPED
    assert not released.is_set()


async def test_the_rest_of_a_cancelled_batch_is_not_sent(released: threading.Event) -> None:
    plugin: Any = blocking(released)
    async with hosting(bad=plugin) as bench:
        name = await bench.start("bad")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.host.deliver, name, [notification(1), notification(2)])
            await until(lambda: plugin.calls, lambda calls: calls == ["ntf_1"])
            nursery.cancel_scope.cancel()
        released.set()
        # The same runner again: it is free only after the thread has ended.
        assert await bench.host.deliver(name, [notification(3)]) == [Value({"for": "ntf_3"})]
    assert plugin.calls == ["ntf_1", "ntf_3"]


async def test_a_blocked_check_is_left_behind(released: threading.Event) -> None:
    async with hosting(bad=blocking(released)) as bench:
        name = await bench.start("bad", timeout=SHORT_S)
        for _ in range(2):
            with pytest.raises(DeadlineExceeded, match=r"check took longer than 0\.01 s"):
                await bench.host.check(name)


async def test_a_blocked_live_hook_holds_no_delivery_up() -> None:
    release = threading.Event()
    began = threading.Event()

    class Half(Plugin[PluginConfig]):
        @hookimpl
        def on_event(self) -> None:
            began.set()
            assert release.wait(30)

        @hookimpl
        def deliver(self, notification: Any) -> None:
            """Accepts it."""

    async with hosting(good=good(), bad=Half) as bench:
        await bench.start("good")
        name = await bench.load("bad", timeout=SHORT_S)
        bench.host.publish(task_failed(), None)
        status = await until(lambda: bench.status(name), lambda status: status.reason is not None)
        assert runs("on_event").fullmatch(status.reason or "")
        assert await bench.host.deliver(name, [notification()]) == [Value(None)]
        await serves(bench)
        release.set()
        await until(lambda: bench.status(name), lambda status: status.reason is None)
        assert bench.status(name).state is InstanceState.LOADED


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("boom"), "__init__: ValueError: boom"),
        (SystemExit(3), "__init__: sys.exit(3) was called"),
        (GeneratorExit(), "__init__: GeneratorExit"),
        (KeyboardInterrupt(), "__init__: KeyboardInterrupt"),
    ],
)
async def test_an_init_that_breaks_fails_the_instance_for_good(error: BaseException, reason: str) -> None:
    class Broken(Plugin[PluginConfig]):
        def __init__(self) -> None:
            raise error

        @hookimpl
        def deliver(self, notification: Any) -> None:
            """Never called."""

    async with hosting(good=good(), bad=Broken) as bench:
        await bench.start("good")
        name = await bench.start("bad")
        status = await bench.until(name, InstanceState.FAILED)
        assert status.reason == reason
        assert bench.failures == [(name, reason)]
        with pytest.raises(PluginError) as caught:
            await bench.host.check(name)
        assert caught.value.reason == reason
        await serves(bench)


async def test_an_init_that_blocks_hurts_only_its_instance(released: threading.Event) -> None:
    class Slow(Plugin[PluginConfig]):
        def __init__(self) -> None:
            assert released.wait(30)

        @hookimpl
        def deliver(self, notification: Any) -> None:
            """Accepts it."""

    async with hosting(good=good(), bad=Slow) as bench:
        await bench.start("good")
        name = await bench.start("bad", timeout=SHORT_S)
        status = await until(lambda: bench.status(name), lambda status: status.reason is not None)
        assert status.state is InstanceState.LOADING
        assert runs("__init__").fullmatch(status.reason or "")
        await serves(bench)
        released.set()
        assert await bench.host.deliver(name, [notification()]) == [Value(None)]


async def test_an_init_that_makes_something_else_fails_the_instance() -> None:
    class Odd(Plugin[PluginConfig]):
        def __new__(cls) -> Any:
            return object()

        @hookimpl
        def deliver(self, notification: Any) -> None:
            """Never called."""

    async with hosting(bad=Odd) as bench:
        status = await bench.until(await bench.start("bad"), InstanceState.FAILED)
    assert status.reason == "__init__: it made no plugin"


async def test_an_instance_that_refuses_its_config_is_tried_again() -> None:
    class Closed(Plugin[PluginConfig]):
        @property
        def config(self) -> PluginConfig:  # type: ignore[override]
            raise NotImplementedError

        @hookimpl
        def deliver(self, notification: Any) -> None:
            """Never called."""

    async with hosting(good=good(), bad=Closed) as bench:
        await bench.start("good")
        status = await bench.until(await bench.start("bad"), InstanceState.RETRYING)
        assert status.reason is not None
        assert status.reason.startswith("AttributeError: property 'config'")
        await serves(bench)
