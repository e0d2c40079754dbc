"""Deliveries, ``check`` and ``diagnostics``: every result and exception of plugin code in a task."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import trio
from outcome import Error, Value
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from aintandem_notify.api import (
    DestinationBroken,
    HttpFailed,
    Notification,
    Plugin,
    PluginConfig,
    PluginNotReady,
    Rejected,
    RetryLater,
    hookimpl,
)
from aintandem_notify.errors import PluginError
from aintandem_notify.plugins import DeadlineExceeded, InstanceState
from aintandem_notify.plugins.border import MAX_RECEIPT_BYTES, NoConnection, PluginCodeFailed
from support.hosting import good, hosting, notification


def answering(act: Callable[[], Any]) -> type[Plugin[Any]]:
    """A destination whose hooks call ``act``, and await its result if it is awaitable."""

    class Answering(Plugin[PluginConfig]):
        @hookimpl
        async def deliver(self, notification: Notification) -> Any:
            return await self._act()

        @hookimpl
        async def check(self) -> None:
            await self._act()

        @hookimpl
        async def diagnostics(self) -> Any:
            return await self._act()

        async def _act(self) -> Any:
            result = act()
            return await result if hasattr(result, "__await__") else result

    return Answering


def raising(error: BaseException) -> Callable[[], Any]:
    """An ``act`` that raises."""

    def act() -> None:
        raise error

    return act


async def deadline_of_its_own() -> None:
    """Exceeds a deadline of the plugin's own."""
    with trio.fail_after(0.5):
        await trio.sleep_forever()


async def four_seconds() -> None:
    """Takes four seconds."""
    await trio.sleep(4)


def circular() -> dict[str, Any]:
    """A dict that contains itself."""
    circle: dict[str, Any] = {}
    circle["self"] = circle
    return circle


class Broken(Mapping[str, Any]):
    """A mapping that raises when it is read."""

    def __getitem__(self, key: str) -> Any:
        raise OSError("unreadable")

    def __iter__(self) -> Any:
        return iter(["key"])

    def __len__(self) -> int:
        return 1


async def test_a_receipt_is_kept_as_a_copy(autojump_clock: MockClock) -> None:
    receipt = {"channel": "C1", "parts": [1, 2.5, None, True, {"deep": "ünï"}]}
    async with hosting(good=good(), bad=answering(lambda: receipt)) as bench:
        [result] = await bench.host.deliver(await bench.start("bad"), [notification()])
    assert result == Value(receipt)
    assert isinstance(result, Value)
    assert result.value is not receipt


async def test_several_deliveries_run_at_a_time(autojump_clock: MockClock) -> None:
    async with hosting(bad=answering(four_seconds)) as bench, trio.open_nursery() as nursery:
        name = await bench.load("bad", parallel=3)
        for number in range(3):
            nursery.start_soon(bench.host.deliver, name, [notification(number)])
    assert trio.current_time() == 4


@pytest.mark.parametrize("empty", [None, {}])
async def test_no_receipt_is_fine(autojump_clock: MockClock, empty: object) -> None:
    async with hosting(bad=answering(lambda: empty)) as bench:
        assert await bench.host.deliver(await bench.start("bad"), [notification()]) == [Value(empty)]


@pytest.mark.parametrize(
    ("junk", "reason"),
    [
        ("ok", "deliver returned a str, not a dict of JSON values"),
        (True, "deliver returned a bool, not a dict of JSON values"),
        ([("a", 1)], "deliver returned a list, not a dict of JSON values"),
        (object, "deliver returned a type, not a dict of JSON values"),
        ({1: "one"}, "deliver returned a dict with keys or values that are not JSON"),
        ({"when": object()}, "deliver returned a dict with keys or values that are not JSON"),
        ({"set": {1}}, "deliver returned a dict with keys or values that are not JSON"),
        ({"nan": float("nan")}, "deliver returned a dict with keys or values that are not JSON"),
        ({"cut": "\ud800"}, "deliver returned a dict with keys or values that are not JSON"),
        (circular(), "deliver returned a dict with keys or values that are not JSON"),
        (
            {"long": "x" * MAX_RECEIPT_BYTES},
            f"deliver returned too much; a receipt may have at most {MAX_RECEIPT_BYTES} bytes of JSON",
        ),
    ],
)
async def test_junk_for_a_receipt_is_the_plugins_fault(
    autojump_clock: MockClock, junk: object, reason: str
) -> None:
    async with hosting(good=good(), bad=answering(lambda: junk)) as bench:
        [result] = await bench.host.deliver(await bench.start("bad"), [notification()])
        assert isinstance(result, Error)
        assert isinstance(result.error, PluginError)
        assert (result.error.plugin, result.error.reason) == ("bad.x", reason)
        assert await bench.host.deliver(await bench.start("good"), [notification()]) == [Value({"for": "ntf_1"})]


@pytest.mark.parametrize(
    ("act", "kind", "text"),
    [
        (raising(RetryLater("busy", after=7)), RetryLater, "busy"),
        (raising(DestinationBroken("revoked")), DestinationBroken, "revoked"),
        (raising(Rejected("too long")), Rejected, "too long"),
        (raising(PluginNotReady("no bus")), RetryLater, "no bus"),
        (raising(HttpFailed("refused", maybe_sent=True)), HttpFailed, "refused"),
        (raising(KeyError("x")), PluginCodeFailed, "bad.x: KeyError: 'x'"),
        (raising(SystemExit(3)), PluginCodeFailed, "bad.x: sys.exit(3) was called"),
        (raising(GeneratorExit()), PluginCodeFailed, "bad.x: GeneratorExit"),
        (raising(KeyboardInterrupt()), PluginCodeFailed, "bad.x: KeyboardInterrupt"),
        (raising(BaseException("odd")), PluginCodeFailed, "bad.x: BaseException: odd"),
        (raising(ConnectionRefusedError("no")), NoConnection, "ConnectionRefusedError: no"),
        (raising(TimeoutError()), NoConnection, "TimeoutError"),
        (
            raising(ExceptionGroup("", [ExceptionGroup("", [OSError("deep")])])),
            PluginCodeFailed,
            "bad.x: OSError: deep",
        ),
        (raising(ExceptionGroup("", [Rejected("no"), ValueError(), RetryLater("a")])), RetryLater, "a"),
        (raising(ExceptionGroup("", [RetryLater("b", after=1), RetryLater("c", after=2)])), RetryLater, "c"),
        (
            raising(ExceptionGroup("", [ValueError("first"), TypeError("second")])),
            PluginCodeFailed,
            "bad.x: ValueError: first",
        ),
        (raising(BaseExceptionGroup("", [SystemExit(), Rejected("no")])), Rejected, "no"),
        (trio.sleep_forever, DeadlineExceeded, "deliver took longer than 5 s"),
        (deadline_of_its_own, DeadlineExceeded, "a deadline of the plugin's own has passed"),
        (lambda: Broken(), PluginCodeFailed, "bad.x: OSError: unreadable"),
    ],
)
async def test_an_exception_becomes_the_result(
    autojump_clock: MockClock, act: Callable[[], Any], kind: type[Exception], text: str
) -> None:
    async with hosting(good=good(), bad=answering(act)) as bench:
        name = await bench.start("bad", timeout=5.0)
        [result] = await bench.host.deliver(name, [notification(1), notification(2)])
        assert isinstance(result, Error)
        assert type(result.error) is kind
        assert str(result.error) == text
        assert bench.status(name).state is InstanceState.LOADED
        assert await bench.host.deliver(await bench.start("good"), [notification()]) == [Value({"for": "ntf_1"})]
    assert bench.failures == []


def test_our_deadline_is_a_timeout() -> None:
    assert issubclass(DeadlineExceeded, TimeoutError)


async def test_a_cancellation_of_ours_passes_through_a_plugin(autojump_clock: MockClock) -> None:
    async def wait_in_a_nursery() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("on the way out")

    async with hosting(bad=answering(wait_in_a_nursery)) as bench:
        name = await bench.start("bad")
        with trio.move_on_after(1) as scope:
            await bench.host.deliver(name, [notification()])
        assert scope.cancelled_caught
        assert bench.status(name).state is InstanceState.LOADED


async def test_a_kept_cancellation_that_is_raised_later_is_a_fault(autojump_clock: MockClock) -> None:
    reused: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            reused.append(error)
            raise
    async with hosting(bad=answering(raising(reused[0]))) as bench:
        [result] = await bench.host.deliver(await bench.start("bad"), [notification()])
    assert isinstance(result, Error)
    assert isinstance(result.error, PluginError)


async def test_a_batch_stops_at_the_first_that_is_not_delivered(autojump_clock: MockClock) -> None:
    acts: list[object] = [{"n": 1}, None, "junk", {"n": 4}]
    async with hosting(bad=answering(lambda: acts.pop(0))) as bench:
        name = await bench.start("bad")
        results = await bench.host.deliver(name, [notification(n) for n in range(4)])
        assert results[:2] == [Value({"n": 1}), Value(None)]
        assert [type(result) for result in results] == [Value, Value, Error]
        assert await bench.host.deliver(name, []) == []
    assert acts == [{"n": 4}]


async def test_each_notification_has_a_deadline_of_its_own(autojump_clock: MockClock) -> None:
    async with hosting(bad=answering(four_seconds)) as bench:
        name = await bench.start("bad", timeout=5.0)
        assert await bench.host.deliver(name, [notification(n) for n in range(3)]) == [Value(None)] * 3


async def test_only_a_destination_takes_deliveries(autojump_clock: MockClock) -> None:
    class Watcher(Plugin[PluginConfig]):
        @hookimpl
        async def on_event(self) -> None:
            """Sees it."""

    async with hosting(watcher=Watcher) as bench:
        name = await bench.start("watcher")
        with pytest.raises(PluginError, match="it is no destination"):
            await bench.host.deliver(name, [notification()])
        assert not bench.status(name).destination
        assert await bench.host.diagnostics(name) == {}
        await bench.host.check(name)


async def test_check_and_diagnostics_give_the_plugins_answer(autojump_clock: MockClock) -> None:
    async with hosting(bad=answering(lambda: {"queue": 3})) as bench:
        name = await bench.start("bad")
        await bench.host.check(name)
        assert await bench.host.diagnostics(name) == {"queue": 3}


@pytest.mark.parametrize(
    ("act", "kind", "reason"),
    [
        (raising(ConnectionError("refused")), ConnectionError, "refused"),
        (raising(SystemExit()), PluginError, r"sys\.exit\(None\) was called"),
        (trio.sleep_forever, DeadlineExceeded, "took longer than 5 s"),
    ],
)
async def test_check_and_diagnostics_raise_the_plugins_outcome_or_fault(
    autojump_clock: MockClock, act: Callable[[], Any], kind: type[Exception], reason: str
) -> None:
    async with hosting(bad=answering(act)) as bench:
        name = await bench.start("bad", timeout=5.0)
        with pytest.raises(kind, match=reason):
            await bench.host.check(name)
        with pytest.raises(kind, match=reason):
            await bench.host.diagnostics(name)


async def test_junk_for_diagnostics_is_the_plugins_fault(autojump_clock: MockClock) -> None:
    async with hosting(bad=answering(lambda: None)) as bench:
        name = await bench.start("bad")
        await bench.host.wait_loaded(name)
        with pytest.raises(PluginError, match="diagnostics returned a NoneType, not a dict"):
            await bench.host.diagnostics(name)


async def test_nobody_can_be_asked(autojump_clock: MockClock) -> None:
    async with hosting(good=good()) as bench:
        with pytest.raises(PluginError, match=r"good\.x: no such instance is running"):
            await bench.host.check("good.x")
        await bench.start("good")
        with pytest.raises(PluginError, match=r"good\.x: it is loading"):
            await bench.host.diagnostics("good.x")


async def deaf() -> None:
    """Waits for a thread of the plugin's own."""
    with trio.CancelScope(shield=True):
        await trio.sleep(1000)


async def test_a_task_that_no_deadline_ends_shows_and_fails_until_it_is_over(autojump_clock: MockClock) -> None:
    async with hosting(bad=answering(deaf)) as bench, trio.open_nursery() as nursery:
        name = await bench.load("bad", timeout=30.0)
        nursery.start_soon(bench.host.deliver, name, [notification()])
        await trio.sleep(40)
        assert bench.status(name).reason == "deliver has been running for 40 s"
        assert bench.status(name).state is InstanceState.LOADED
        await trio.sleep(300)
        assert bench.status(name).state is InstanceState.FAILED
        assert bench.failures == [(name, "deliver has been running for 330 s")]
        await trio.sleep(700)
        assert bench.status(name).state is InstanceState.LOADED


async def test_a_call_that_outlives_its_instance_is_reported_all_the_same(autojump_clock: MockClock) -> None:
    with capture_logs() as entries:
        async with hosting(bad=answering(deaf)) as bench, trio.open_nursery() as nursery:
            name = await bench.load("bad", timeout=30.0)
            nursery.start_soon(bench.host.deliver, name, [notification()])
            await wait_all_tasks_blocked()
            await bench.host.stop(name)
            assert bench.status(name).state is InstanceState.STOPPED
            entries.clear()
    assert [entry["event"] for entry in entries] == ["a hook is stuck", "an overdue hook has ended"]
    assert bench.failures == []


@pytest.mark.parametrize("count", [1, 3])
async def test_a_call_counts_from_its_own_start_also_while_others_run(
    autojump_clock: MockClock, count: int
) -> None:
    with capture_logs() as entries:
        async with hosting(bad=answering(deaf)) as bench, trio.open_nursery() as nursery:
            name = await bench.load("bad", timeout=30.0, parallel=count)
            entries.clear()
            for _ in range(count):
                nursery.start_soon(bench.host.deliver, name, [notification()])
                await trio.sleep(20)
    stuck = [entry["elapsed_s"] for entry in entries if entry["event"] == "a hook is stuck"]
    assert stuck == [330] * count


async def test_facts_may_name_a_file_of_other_bytes(autojump_clock: MockClock) -> None:
    async with hosting(good=answering(lambda: {"path": "caf\udce9"})) as bench:
        name = await bench.start("good")
        await bench.host.check(name)
        assert await bench.host.diagnostics(name) == {"path": "caf\ufffd"}
