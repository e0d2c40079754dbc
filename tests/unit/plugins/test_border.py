"""The border to plugin code: errors of our own, numbers, source lines, JSON values, class attributes."""

import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.api import Plugin
from aintandem_notify.errors import (
    AInTandemNotifyError,
    DestinationBroken,
    DestinationGone,
    HttpFailed,
    PluginError,
    PluginNotReady,
    Rejected,
    RetryLater,
)
from aintandem_notify.log import MAX_ERROR_TEXT
from aintandem_notify.plugins.border import (
    MAX_DIAGNOSTICS_BYTES,
    MAX_RECEIPT_BYTES,
    Border,
    ClassAttributes,
    ConventionBroken,
    DeadlineExceeded,
    NoConnection,
    PluginCodeFailed,
    PluginUnusable,
    SourceFiles,
    describe_plugin_error,
    plugin_error_kind,
    read_class_attributes,
)
from aintandem_notify.plugins.border.error_translation import HUGE_WAIT_S, seconds_of
from aintandem_notify.plugins.border.missing_await import WatchedCall, WatchedSteps, noticing_missing_awaits
from aintandem_notify.plugins.runtime.calls import run_contained

HERE = Path(__file__)
SHOWN = f"plugins/{HERE.name}"
BORDER = Border("bad.x")


class Liar(Exception):
    """Claims another class, and raises for every attribute."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no traceback")

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)


class OddGroup(ExceptionGroup[Exception]):
    """Hides the exceptions that it contains."""

    @property
    def exceptions(self) -> Any:
        raise RuntimeError("no exceptions")


class Silent(RetryLater):
    """Never passes its arguments to its parent class."""

    def __init__(self) -> None:
        pass


class Unreadable(RetryLater):
    """Has neither a reason nor a text."""

    reason = property(lambda _self: 1 / 0)
    after = property(lambda _self: 1 / 0)

    def __init__(self) -> None:
        pass

    def __str__(self) -> str:
        raise KeyboardInterrupt


def deep_group(depth: int) -> BaseException:
    """A group in a group, and so on."""
    error: Exception = Rejected("deep")
    for number in range(depth):
        error = ExceptionGroup(str(number), [error])
    return error


def wide_group() -> BaseException:
    """A few groups with an exponential number of paths to the same exception."""
    error: Exception = Rejected("wide")
    for _ in range(100):
        error = ExceptionGroup("", [error, error])
    return error


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: Liar(), PluginCodeFailed, "Liar"),
        (lambda: OddGroup("", [Rejected("in it")]), Rejected, "in it"),
        (lambda: deep_group(5000), Rejected, "deep"),
        (lambda: wide_group(), Rejected, "wide"),
        (lambda: Silent(), RetryLater, ""),
        (lambda: Unreadable(), RetryLater, "(its text cannot be read)"),
        (lambda: Rejected(None), Rejected, ""),  # type: ignore[arg-type]
        (lambda: Rejected(b"\xff"), Rejected, "b'\\xff'"),  # type: ignore[arg-type]
        (lambda: DestinationGone("half \ud83d\x1b[2J"), DestinationGone, "half \ufffd"),
        (lambda: DestinationBroken("see /cb?token=abc12345"), DestinationBroken, "see /cb?token=[redacted]"),
        (lambda: PluginNotReady("no\nbus"), PluginNotReady, "no bus"),
        (lambda: HttpFailed(object, maybe_sent="yes"), HttpFailed, "<class 'object'>"),  # type: ignore[arg-type]
        (lambda: PluginError("other.y", "junk"), PluginCodeFailed, "junk"),
        (lambda: PluginUnusable("bad.x", "never"), PluginUnusable, "never"),
        (lambda: DeadlineExceeded("late"), DeadlineExceeded, "late"),
        (lambda: trio.TooSlowError(), DeadlineExceeded, "a deadline of the plugin's own has passed"),
        (lambda: ConnectionResetError(104, "reset"), NoConnection, "ConnectionResetError: [Errno 104] reset"),
        (lambda: TimeoutError(), NoConnection, "TimeoutError"),
        (lambda: SystemExit(3), PluginCodeFailed, "sys.exit(3) was called"),
        (lambda: SystemExit("half \ud83d"), PluginCodeFailed, "sys.exit('half \ufffd') was called"),
        (lambda: SystemExit(), PluginCodeFailed, "sys.exit(None) was called"),
        (lambda: KeyboardInterrupt(), PluginCodeFailed, "KeyboardInterrupt"),
        (lambda: StopAsyncIteration(7), PluginCodeFailed, "StopAsyncIteration: 7"),
        (lambda: BaseException("odd"), PluginCodeFailed, "BaseException: odd"),
    ],
)
def test_an_error_is_translated_into_one_of_our_own_that_can_be_read(
    make: Callable[[], BaseException], kind: type[Exception], text: str
) -> None:
    # Created within the test: pytest itself crashes when it inspects some of them.
    error = BORDER.translate_error(make())
    assert type(error) is kind
    assert describe_plugin_error(error).startswith(text) if text else describe_plugin_error(error) == kind.__name__
    assert len(describe_plugin_error(error)) <= MAX_ERROR_TEXT + 200
    assert isinstance(error, AInTandemNotifyError)


@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        (None, None),
        (0, 0.0),
        (7, 7.0),
        (1.5, 1.5),
        (timedelta(minutes=1), 60.0),
        (10**400, HUGE_WAIT_S),
        (-(10**400), None),
        (-1, None),
        (timedelta(seconds=-1), None),
        (math.nan, None),
        (math.inf, None),
        (True, None),
        ("7", None),
        (Decimal(7), None),
        ([7], None),
        (object(), None),
    ],
)
def test_a_pause_is_a_number_of_seconds_or_none_and_then_it_is_said(after: Any, seconds: float | None) -> None:
    assert seconds_of(after) == seconds
    error = BORDER.translate_error(RetryLater("busy", after=after))
    assert isinstance(error, RetryLater)
    assert error.after == seconds
    is_invalid = after is not None and seconds is None
    assert error.reason.startswith("busy: after should be a number of seconds, not ") if is_invalid else True
    assert is_invalid or error.reason == "busy"


@given(st.lists(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.binary()), min_size=1))
def test_no_mixture_of_pauses_is_compared_in_vain(afters: list[Any]) -> None:
    group = ExceptionGroup("", [RetryLater("busy", after=after) for after in afters])
    error = BORDER.translate_error(group)
    assert isinstance(error, RetryLater)
    assert error.after == max((seconds_of(after) or 0.0 for after in afters), default=None) or error.after is None


def test_an_error_says_where_in_the_plugin_it_was_raised() -> None:
    def fail() -> None:
        int("x")

    try:
        fail()
    except ValueError as caught:
        error = caught
    line = fail.__code__.co_firstlineno + 1
    text = "ValueError: invalid literal for int() with base 10: 'x'"
    assert (
        describe_plugin_error(Border("bad.x", SourceFiles(HERE)).translate_error(error))
        == f"{SHOWN}:{line}: {text}"
    )
    assert (
        describe_plugin_error(Border("bad.x", SourceFiles(Path("/else/beep.py"))).translate_error(error))
        == f"else/beep.py: {text}"
    )
    package = Border("bad.x", SourceFiles(HERE.parent / "__init__.py", HERE.parent))
    assert describe_plugin_error(package.translate_error(error)) == f"{SHOWN}:{line}: {text}"
    assert describe_plugin_error(BORDER.translate_error(error)) == text


def test_errors_are_of_one_kind_if_the_same_class_was_raised() -> None:
    assert plugin_error_kind(BORDER.translate_error(KeyError("a"))) == plugin_error_kind(
        BORDER.translate_error(KeyError("b"))
    )
    assert plugin_error_kind(BORDER.translate_error(KeyError("a"))) != plugin_error_kind(
        BORDER.translate_error(ValueError("a"))
    )


class LyingMeta(type):
    """Raises for attributes that it should have."""

    def __getattribute__(cls, name: str) -> Any:
        if name == "in_flight":
            raise RuntimeError("no in_flight")
        return super().__getattribute__(name)


WRONG = "should be a whole number from 1 to 1000, not"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("in_flight", 0, f"{WRONG} 0"),
        ("parallel", 0, "should be a whole number from 1 to 256, not 0"),
        ("parallel", 257, "should be a whole number from 1 to 256, not 257"),
        ("parallel", True, "should be a whole number from 1 to 256, not True"),
        ("in_flight", -1, f"{WRONG} -1"),
        ("in_flight", 10**9, f"{WRONG} 1000000000"),
        ("in_flight", "3", f"{WRONG} a text"),
        ("in_flight", 1.0, f"{WRONG} 1.0"),
        ("in_flight", True, f"{WRONG} True"),
        ("in_flight", None, f"{WRONG} None"),
        ("in_flight", property(lambda _self: 1), f"{WRONG} a property"),
        ("digest_over", 0, "should be a whole number of at least 2, or None, not 0"),
        ("digest_over", "never", "should be a whole number of at least 2, or None, not a text"),
        ("digest_over", [], "should be a whole number of at least 2, or None, not a list"),
        ("machine_local", "no", "should be True or False, not a text"),
        ("machine_local", None, "should be True or False, not None"),
    ],
)
def test_an_invalid_class_attribute_is_an_error(name: str, value: object, problem: str) -> None:
    odd = type("Odd", (Plugin,), {name: value})
    with pytest.raises(ConventionBroken) as caught:
        read_class_attributes(odd)
    assert str(caught.value) == f"{name}: {problem}"


class Named(Plugin[Any]):
    parallel = 3
    in_flight = 7
    digest_over = None


class Zero(Named):
    """The error names this line."""

    in_flight = 0  # this one


class Lying(Plugin[Any], metaclass=LyingMeta):
    pass


def test_class_attributes_are_read_and_errors_name_their_line() -> None:
    assert read_class_attributes(Named) == ClassAttributes(parallel=3, in_flight=7, digest_over=None)
    line = HERE.read_text().split("\n").index("    in_flight = 0  # this one") + 1
    with pytest.raises(ConventionBroken) as caught:
        read_class_attributes(Zero)
    assert (caught.value.cls, caught.value.attribute) == (Zero, "in_flight")
    assert SourceFiles(HERE).defined_at(Zero, "in_flight") == f"{SHOWN}:{line}"
    with pytest.raises(ConventionBroken, match="in_flight: cannot be read: RuntimeError: no in_flight"):
        read_class_attributes(Lying)


@pytest.mark.parametrize(
    ("parse", "max_bytes"), [(BORDER.receipt, MAX_RECEIPT_BYTES), (BORDER.diagnostics, MAX_DIAGNOSTICS_BYTES)]
)
def test_json_may_just_fit(parse: Callable[[object], dict[str, Any] | None], max_bytes: int) -> None:
    fits = {"k": "x" * (max_bytes - len('{"k": ""}'))}
    assert parse(fits) == fits
    with pytest.raises(PluginCodeFailed, match=f"returned too much; .* may have at most {max_bytes} bytes"):
        parse({"k": fits["k"] + "x"})


def test_an_invalid_result_is_reported_with_the_line_of_its_hook() -> None:
    class Own(Plugin[Any]):
        def deliver(self) -> int:
            return 7

    line = Own.deliver.__code__.co_firstlineno
    with pytest.raises(PluginCodeFailed) as caught:
        Border("bad.x", SourceFiles(HERE), Own).receipt(7)
    assert caught.value.reason == f"{SHOWN}:{line}: deliver returned an int, not a dict of JSON values"


async def test_a_missing_await_is_said_and_leaves_no_warning() -> None:
    for is_async, advice in ((True, "await it in the hook"), (False, "write it as async def")):
        with pytest.raises(PluginCodeFailed, match=f"on_event returned a coroutine; {advice}"):
            BORDER.require_awaited("on_event", trio.lowlevel.checkpoint(), BORDER.watch(), is_async=is_async)  # noqa: ASYNC105  # that is the mistake


async def forgotten() -> None:
    """Nobody awaits it."""
    await trio.lowlevel.checkpoint()


async def forgets() -> str:
    await trio.lowlevel.checkpoint()
    forgotten()  # type: ignore[unused-coroutine]
    await trio.lowlevel.checkpoint()
    return "done"


async def test_a_coroutine_that_is_never_awaited_is_named_with_its_line() -> None:
    line = forgets.__code__.co_firstlineno + 2
    for step in (lambda call: WatchedSteps(forgets(), call), forgets_in_a_thread):
        call = WatchedCall(SourceFiles(HERE))
        with noticing_missing_awaits():
            assert await step(call) == "done"
        assert call.unawaited == (
            f"{SHOWN}:{line}: await is missing: the coroutine of forgotten() was never awaited"
        )


async def forgets_in_a_thread(call: WatchedCall) -> str:
    """The thread makes the coroutine."""
    return await trio.to_thread.run_sync(call.run, lambda: trio.run(forgets))


async def test_a_coroutine_of_others_is_warned_of_as_ever() -> None:
    call = WatchedCall(SourceFiles(Path("/else/beep.py")))
    with noticing_missing_awaits(), pytest.warns(RuntimeWarning, match="forgotten' was never awaited"):
        await WatchedSteps(forgets(), call)
    assert call.unawaited is None
    with noticing_missing_awaits(), pytest.warns(RuntimeWarning, match="forgotten' was never awaited"):
        await forgets()


async def test_a_watched_coroutine_can_raise_and_be_cancelled() -> None:
    async def raises() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("no")

    cancelled: list[str] = []

    async def waits() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append("cancelled")
            raise

    with pytest.raises(ValueError, match="no"):
        await WatchedSteps(raises(), BORDER.watch())
    with trio.CancelScope() as scope:
        scope.cancel()
        await WatchedSteps(waits(), BORDER.watch())
    assert cancelled == ["cancelled"]


async def leaves_a_nursery() -> str:
    """Never closes it."""
    await trio.open_nursery().__aenter__()
    return "done"


async def leaves_a_task() -> str:
    """Never closes its nursery, in which a task is running."""
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)
    return "done"


async def leaves_a_scope() -> str:
    """Never leaves it."""
    trio.CancelScope().__enter__().cancel()
    return "done"


@pytest.mark.parametrize(("work", "reports"), [(leaves_a_nursery, 1), (leaves_a_task, 1), (leaves_a_scope, 0)])
async def test_an_open_nursery_or_scope_ends_with_its_task(work: Callable[[], Any], reports: int) -> None:
    incidents: list[str] = []
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            with trio.move_on_after(60) as scope:
                assert await run_contained(work, BORDER, lambda: incidents.append("open")) == "done"
            assert not scope.cancelled_caught
        await trio.lowlevel.checkpoint()
        assert not nursery.cancel_scope.cancel_called
    assert len(incidents) == 2 * reports


async def test_contained_work_can_be_cancelled_and_raise() -> None:
    async def fails() -> None:
        raise Rejected("no")

    with pytest.raises(ExceptionGroup) as caught:
        await run_contained(fails, BORDER)
    assert describe_plugin_error(BORDER.translate_error(caught.value)) == "no"
    with trio.CancelScope() as scope:
        scope.cancel()
        await run_contained(trio.sleep_forever, BORDER)
    assert scope.cancelled_caught
