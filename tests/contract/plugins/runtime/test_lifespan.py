"""Instances whose plugin breaks are set up again, and a good one next to them is not affected."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
import trio
import trio.testing
from outcome import Error, Value
from trio.testing import MockClock

from aintandem_notify.api import DestinationBroken, Plugin, PluginConfig, PluginNotReady, hookimpl
from aintandem_notify.errors import PluginError
from aintandem_notify.plugins import InstanceState
from aintandem_notify.plugins.runtime.lifespan import TEAR_DOWN_S
from aintandem_notify.plugins.runtime.states import RETRY_PAUSES_S, STABLE_AFTER_S
from support.hosting import Bench, good, hosting, notification, task_failed
from support.trio_clock import TrioClock

LOADED, RETRYING, FAILED, STOPPED = (
    InstanceState.LOADED,
    InstanceState.RETRYING,
    InstanceState.FAILED,
    InstanceState.STOPPED,
)


class Scripted(Plugin[PluginConfig]):
    """A lifespan that follows a script, with one entry for each set-up."""

    script: ClassVar[list[Any]] = []
    entered: ClassVar[list[float]] = []
    torn_down: ClassVar[list[str]] = []

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Raise the script's next exception, hang at ``"hang"``, otherwise run."""
        self.entered.append(trio.current_time())
        act = self.script.pop(0) if self.script else None
        if act == "hang":
            await trio.sleep_forever()
        if act is not None:
            raise act
        yield
        await trio.sleep(0.1)
        self.torn_down.append(self.context.name)

    @hookimpl
    async def deliver(self, notification: Any) -> None:
        """Accept it."""


def scripted(*script: Any) -> type[Scripted]:
    """A new subclass of ``Scripted``."""
    return type("Scripted", (Scripted,), {"script": list(script), "entered": [], "torn_down": []})


async def serves(bench: Bench) -> None:
    """The good plugin gets its event and its notification."""
    good_class: Any = bench.catalog.latest("good").plugin_class
    seen, delivered = len(good_class.seen), len(good_class.delivered)
    bench.host.publish(task_failed(), None)
    assert await bench.host.deliver("good.x", [notification()]) == [Value({"for": "ntf_1"})]
    await trio.testing.wait_all_tasks_blocked()
    assert (len(good_class.seen), len(good_class.delivered)) == (seen + 1, delivered + 1)


async def test_an_instance_is_set_up_used_and_torn_down(autojump_clock: MockClock) -> None:
    plugin = scripted()
    async with hosting(good=good(), bad=plugin) as bench:
        name = await bench.start("bad")
        await bench.host.wait_loaded(name)
        assert bench.status(name).state is LOADED
        assert bench.status(name).destination
        assert plugin.torn_down == []
    assert plugin.torn_down == ["bad.x"]
    assert bench.status(name).state is STOPPED
    assert bench.failures == []


async def test_config_and_context_are_set_before_any_hook(autojump_clock: MockClock) -> None:
    seen = []

    class Curious(Plugin[PluginConfig]):
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            seen.append((self.config.timeout, self.context.name, self.context.clock.now()))
            self.context.nursery.start_soon(trio.sleep_forever)
            yield

    async with hosting(bad=Curious, clock=(clock := TrioClock())) as bench:
        await bench.host.wait_loaded(await bench.start("bad", timeout=7.0))
        assert seen == [(7.0, "bad.x", clock.now())]


async def test_not_ready_is_retried_and_announced_at_the_third_failure(autojump_clock: MockClock) -> None:
    plugin = scripted(*[PluginNotReady("no bus yet")] * 4)
    async with hosting(good=good(), bad=plugin) as bench:
        await bench.start("good")
        name = await bench.start("bad")
        announcements = []
        for pause_s in RETRY_PAUSES_S[:4]:
            await trio.testing.wait_all_tasks_blocked()
            assert bench.status(name).state is RETRYING
            assert bench.status(name).reason == "lifespan, set-up: no bus yet"
            announcements.append(len(bench.failures))
            await serves(bench)
            await trio.sleep(pause_s)
        assert announcements == [0, 0, 1, 1]
        assert bench.failures == [("bad.x", "lifespan, set-up: no bus yet")]
        await bench.host.wait_loaded(name)
        assert [later - sooner for sooner, later in zip(plugin.entered, plugin.entered[1:], strict=False)] == [
            *RETRY_PAUSES_S[:4]
        ]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (ValueError("boom"), "lifespan, set-up: ValueError: boom"),
        (SystemExit(3), "lifespan, set-up: sys.exit(3) was called"),
        (GeneratorExit(), "lifespan, set-up: GeneratorExit"),
        (KeyboardInterrupt(), "lifespan, set-up: KeyboardInterrupt"),
        (ExceptionGroup("", [ExceptionGroup("", [OSError("deep")])]), "lifespan, set-up: OSError: deep"),
        ("hang", "lifespan, set-up: took longer than 5 s"),
    ],
)
async def test_a_failed_lifespan_is_announced_once_and_retried(
    autojump_clock: MockClock, act: Any, reason: str
) -> None:
    plugin = scripted(act, act)
    async with hosting(good=good(), bad=plugin) as bench:
        await bench.start("good")
        name = await bench.start("bad", timeout=5.0)
        await serves(bench)
        await trio.sleep(5.5)
        assert (bench.status(name).state, bench.status(name).reason) == (RETRYING, reason)
        await bench.host.wait_loaded(name)
        await serves(bench)
    assert bench.failures == [("bad.x", reason)]
    assert plugin.torn_down == ["bad.x"]


@pytest.mark.parametrize("exit_or_error", [SystemExit(1), ValueError("boom")])
async def test_a_destination_that_only_a_person_can_mend_is_not_tried_again(
    autojump_clock: MockClock, exit_or_error: BaseException
) -> None:
    plugin = scripted(DestinationBroken("the token was revoked"), exit_or_error)
    async with hosting(good=good(), bad=plugin) as bench:
        await bench.start("good")
        name = await bench.start("bad")
        await trio.sleep(50_000)
        assert (bench.status(name).state, bench.status(name).reason) == (
            FAILED,
            "lifespan, set-up: the token was revoked",
        )
        await serves(bench)
    assert len(plugin.entered) == 1
    assert bench.failures == [("bad.x", "lifespan, set-up: the token was revoked")]
    assert bench.status(name).state is STOPPED


class Crashing(Plugin[PluginConfig]):
    """A background task that raises when the class's event is set."""

    go: trio.Event
    error: BaseException
    torn_down: ClassVar[list[str]] = []
    delivering: ClassVar[list[str]] = []

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Starts the task."""
        self.context.nursery.start_soon(self._poll)
        yield
        await trio.lowlevel.checkpoint()
        self.torn_down.append(self.context.name)

    async def _poll(self) -> None:
        await self.go.wait()
        type(self).go = trio.Event()
        raise self.error

    @hookimpl
    async def deliver(self, notification: Any) -> None:
        """Sleep for ever."""
        self.delivering.append(self.context.name)
        await trio.sleep_forever()


def crashing(error: BaseException) -> type[Crashing]:
    """A new subclass of ``Crashing``."""
    return type("Crashing", (Crashing,), {"go": trio.Event(), "error": error, "torn_down": [], "delivering": []})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("boom"), "background task: ValueError: boom"),
        (SystemExit(3), "background task: sys.exit(3) was called"),
        (GeneratorExit(), "background task: GeneratorExit"),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), "background task: KeyboardInterrupt"),
    ],
)
async def test_a_crash_in_the_background_tears_down_in_order_and_starts_again(
    autojump_clock: MockClock, error: BaseException, reason: str
) -> None:
    plugin = crashing(error)
    async with hosting(good=good(), bad=plugin) as bench:
        await bench.start("good")
        name = await bench.start("bad")
        await bench.host.wait_loaded(name)
        plugin.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert plugin.torn_down == ["bad.x"]
        assert (bench.status(name).state, bench.status(name).reason) == (RETRYING, reason)
        await serves(bench)
        await bench.host.wait_loaded(name)
        await serves(bench)
    assert bench.failures == [("bad.x", reason)]
    assert plugin.torn_down == ["bad.x", "bad.x"]


async def test_a_crash_during_set_up_is_the_announced_fault(autojump_clock: MockClock) -> None:
    class Hasty(Plugin[PluginConfig]):
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            self.context.nursery.start_soon(self._fail)
            await trio.sleep_forever()
            yield

        async def _fail(self) -> None:
            raise ValueError("boom")

    async with hosting(good=good(), bad=Hasty) as bench:
        await bench.start("good")
        name = await bench.start("bad")
        await trio.testing.wait_all_tasks_blocked()
        assert bench.status(name).reason == "background task: ValueError: boom"
        await serves(bench)


async def test_a_delivery_that_runs_while_the_plugin_crashes_is_to_be_tried_again(
    autojump_clock: MockClock,
) -> None:
    plugin = crashing(ValueError("boom"))
    async with hosting(bad=plugin) as bench, trio.open_nursery() as nursery:
        name = await bench.start("bad")
        results: list[Any] = []

        async def deliver() -> None:
            results.extend(await bench.host.deliver(name, [notification(1), notification(2)]))

        nursery.start_soon(deliver)
        await trio.testing.wait_all_tasks_blocked()
        assert plugin.delivering
        plugin.go.set()
        await bench.host.wait_loaded(name)
    [result] = results
    assert isinstance(result, Error)
    assert str(result.error) == "the plugin is being set up again"


async def test_failures_are_forgotten_after_a_stable_while(autojump_clock: MockClock) -> None:
    plugin = crashing(ValueError("boom"))
    async with hosting(bad=plugin) as bench:
        name = await bench.start("bad")
        for times in (1, 2):
            await bench.host.wait_loaded(name)
            await trio.sleep(STABLE_AFTER_S)
            plugin.go.set()
            await trio.testing.wait_all_tasks_blocked()
            assert len(bench.failures) == times
            before = trio.current_time()
            await bench.host.wait_loaded(name)
            assert trio.current_time() - before == RETRY_PAUSES_S[0]


async def test_a_tear_down_that_hangs_is_cut_short(autojump_clock: MockClock) -> None:
    class Sticky(Plugin[PluginConfig]):
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            yield
            await trio.sleep_forever()

    async with hosting(good=good(), bad=Sticky) as bench:
        await bench.start("good")
        await bench.host.wait_loaded(await bench.start("bad"))
        await serves(bench)
        before = trio.current_time()
    assert trio.current_time() - before == TEAR_DOWN_S
    assert [status.state for status in bench.host.snapshot()] == [STOPPED, STOPPED]
    assert bench.failures == []


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(1)])
async def test_a_tear_down_that_raises_ends_nothing_else(autojump_clock: MockClock, error: BaseException) -> None:
    class Sour(Plugin[PluginConfig]):
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            yield
            raise error

    async with hosting(good=good(), bad=Sour) as bench:
        await bench.start("good")
        await bench.host.wait_loaded(await bench.start("bad"))
        await bench.host.stop("bad.x")
        await serves(bench)
    assert [status.state for status in bench.host.snapshot()] == [STOPPED, STOPPED]


async def test_a_tear_down_is_in_good_order_when_the_agent_is_cancelled(autojump_clock: MockClock) -> None:
    plugin = scripted()
    with trio.move_on_after(10):
        async with hosting(bad=plugin) as bench:
            await bench.host.wait_loaded(await bench.start("bad"))
            await trio.sleep_forever()
    assert plugin.torn_down == ["bad.x"]


@pytest.mark.parametrize("script", [["hang"], [PluginNotReady()], [DestinationBroken()], [ValueError()]])
async def test_stopping_an_unloaded_instance_takes_no_time(autojump_clock: MockClock, script: list[Any]) -> None:
    async with hosting(bad=scripted(*script)) as bench:
        name = await bench.start("bad")
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        await bench.host.stop(name)
        assert trio.current_time() == before
        assert bench.status(name).state is STOPPED


async def test_an_instance_can_be_started_again_with_another_config(autojump_clock: MockClock) -> None:
    async with hosting(bad=scripted()) as bench:
        name = await bench.start("bad")
        await bench.host.wait_loaded(name)
        with pytest.raises(ValueError, match=r"bad\.x is running already"):
            await bench.start("bad")
        await bench.host.stop(name)
        await bench.start("bad", timeout=1.0)
        await bench.host.wait_loaded(name)
        assert [status.state for status in bench.host.snapshot()] == [LOADED]
        await bench.host.stop("nobody.x")


async def test_waiting_for_an_instance_lasts_until_it_is_started_and_loaded(autojump_clock: MockClock) -> None:
    async with hosting(bad=scripted(PluginNotReady())) as bench:
        with trio.move_on_after(10) as scope:
            await bench.host.wait_loaded("bad.x")
        assert scope.cancelled_caught
        before = trio.current_time()
        await bench.start("bad")
        await bench.host.wait_loaded("bad.x")
        assert trio.current_time() - before == RETRY_PAUSES_S[0]


async def test_an_unknown_type_is_refused(autojump_clock: MockClock) -> None:
    async with hosting(bad=scripted()) as bench:
        config = (await bench.start("bad"), bench)[1].catalog.latest("bad")
        assert config.delivers
        with pytest.raises(PluginError, match="no such plugin"):
            await bench.start("nobody")


async def test_a_plugin_that_cannot_be_made_has_failed(autojump_clock: MockClock) -> None:
    class Unfinished(Plugin[PluginConfig], ABC):
        @hookimpl
        async def deliver(self, notification: Any) -> None:
            """Never called."""

        @abstractmethod
        def missing(self) -> None:
            """Not there."""

    async with hosting(bad=Unfinished) as bench:
        name = await bench.start("bad")
        await trio.testing.wait_all_tasks_blocked()
        assert bench.status(name).state is FAILED
        assert len(bench.failures) == 1
        assert "abstract" in bench.failures[0][1]


async def test_live_events_that_waited_for_a_set_up_in_vain_are_counted(autojump_clock: MockClock) -> None:
    class Late(Plugin[PluginConfig]):
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            await trio.sleep(1)
            raise PluginNotReady("gone")
            yield

        @hookimpl
        async def on_event(self) -> None:
            """Never called."""

    async with hosting(bad=Late) as bench:
        name = await bench.start("bad")
        bench.host.publish(task_failed(), None)
        assert bench.status(name).dropped_events == 0
        await trio.sleep(1.5)
        assert bench.status(name).dropped_events == 1


async def test_announcements_contain_no_secrets(autojump_clock: MockClock) -> None:
    plugin = scripted(ValueError("token=abcdefgh is wrong"))
    async with hosting(bad=plugin) as bench:
        name = await bench.start("bad")
        await trio.testing.wait_all_tasks_blocked()
        assert bench.status(name).reason == "lifespan, set-up: ValueError: token=[redacted] is wrong"
        assert bench.failures == [(name, "lifespan, set-up: ValueError: token=[redacted] is wrong")]


async def test_a_lifespan_that_yields_twice_is_the_plugins_fault(autojump_clock: MockClock) -> None:
    class Twice(Plugin[PluginConfig]):
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            yield
            yield

    async with hosting(good=good(), bad=Twice) as bench:
        await bench.start("good")
        await bench.host.wait_loaded(await bench.start("bad"))
        await bench.host.stop("bad.x")
        await serves(bench)


async def test_a_lifespan_with_a_nursery_of_its_own_works(autojump_clock: MockClock) -> None:
    class Nested(Plugin[PluginConfig]):
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fail_later)
                yield
                nursery.cancel_scope.cancel()

        async def _fail_later(self) -> None:
            await trio.sleep(50)
            raise ValueError("boom")

    async with hosting(good=good(), bad=Nested) as bench:
        await bench.start("good")
        name = await bench.start("bad")
        await trio.sleep(50.5)
        assert bench.status(name).state is RETRYING
        assert bench.status(name).reason == "lifespan: ValueError: boom"
        await serves(bench)
        await bench.host.wait_loaded(name)


async def test_a_set_up_that_no_deadline_ends_shows(autojump_clock: MockClock) -> None:
    class Deaf(Plugin[PluginConfig]):
        @hookimpl
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
            yield

    async with hosting(deaf=Deaf) as bench:
        name = await bench.start("deaf", timeout=30.0)
        await trio.sleep(20)
        assert bench.status(name).reason is None
        await trio.sleep(20)
        assert bench.status(name).reason == "set-up has been running for 40 s"
