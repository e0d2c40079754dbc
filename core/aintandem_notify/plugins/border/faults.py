"""What plugin code raised, as one exception of our own that says who did what, and where.

A plugin may raise anything: ``SystemExit``, an exception group out of a nursery, an outcome wrapped in one, a
class whose text cannot be read. None of it may end the agent, and a cancellation of ours must never be taken for a
fault. The plugin's own exception goes no further than this: what it is called, says and asks for is read here, by
the type itself, since ``isinstance`` believes what an object says of itself.
"""

import math
import threading
from datetime import timedelta
from typing import Final

import trio

from aintandem_notify.errors import (
    AInTandemNotifyError,
    DestinationBroken,
    DestinationGone,
    HttpFailed,
    Outcome,
    PluginError,
    PluginNotReady,
    Rejected,
    RetryLater,
)
from aintandem_notify.log import describe_error, error_kind, safe_text
from aintandem_notify.plugins.border.source_files import SourceFiles, with_location

HUGE_WAIT_S: Final = 1e9
"""Seconds that stand for a whole number that is too large for a float."""
MAX_LEAVES: Final = 1000
"""Exceptions of a group that are looked at."""


class DeadlineExceeded(AInTandemNotifyError, TimeoutError):
    """A hook took longer than the instance's ``timeout``."""


class NoConnection(AInTandemNotifyError, ConnectionError):
    """A plugin's own socket was refused, reset or timed out."""


class PluginUnusable(PluginError):
    """The plugin cannot work as it is written; to try again is no use."""


class PluginCodeFailed(PluginError):
    """Plugin code raised what is no outcome. ``kind`` is the class of it, by module and name."""

    def __init__(self, plugin: str, reason: str, kind: str) -> None:
        super().__init__(plugin, reason)
        self.kind = kind


class LifespanFailed(Exception):
    """A life ended by ``fault``, which is one of ours; ``where`` names the code that raised it."""

    def __init__(self, where: str, fault: Exception) -> None:
        self.where = where
        self.fault = fault
        super().__init__(f"{where}: {fault}")


# Out of a group the first of these counts: what keeps the notification comes before what gives it up.
_PRECEDENCE: Final[tuple[type[Exception], ...]] = (
    PluginNotReady,
    DestinationBroken,
    RetryLater,
    HttpFailed,
    DeadlineExceeded,
    Rejected,
    Exception,
)
_OUTCOMES: Final = (PluginNotReady, DestinationGone, DestinationBroken, Rejected)
_TRIO_SAYS: Final = "RuntimeError: Cancel scope stack corrupted"
_MADE_HERE: Final = frozenset({LifespanFailed, PluginCodeFailed, PluginUnusable, NoConnection, DeadlineExceeded})


def fault_of(error: BaseException, plugin: str, source_files: SourceFiles) -> Exception:
    """The one exception that ``error`` comes down to, made of our own classes and texts.

    Raises the part of it that is a cancellation of ours, if it has one.
    """
    if type(error) is GeneratorExit and _being_closed():
        raise error
    leaves = _leaves(error)
    cancelled = [leaf for leaf in leaves if issubclass(type(leaf), trio.Cancelled)]
    if cancelled and _being_cancelled():
        raise cancelled[0]
    return min((_ours(leaf, plugin, source_files) for leaf in leaves), key=_rank)


def describe_fault(fault: Exception) -> str:
    """One line for a log or a status: what a fault that was made here says."""
    match fault:
        case Outcome() | PluginError():
            return fault.reason or type(fault).__name__
        case _:
            return str(fault) or type(fault).__name__


def fault_kind(fault: Exception) -> str:
    """What tells whether two faults that were made here are of the same kind."""
    return fault.kind if isinstance(fault, PluginCodeFailed) else error_kind(fault)


def seconds_of(value: object) -> float | None:
    """Seconds that a plugin asks to wait, of a number or a timedelta; None for what is negative or no number."""
    cls = type(value)
    try:
        if issubclass(cls, timedelta):
            seconds = timedelta.total_seconds(value)  # type: ignore[arg-type]
        elif issubclass(cls, float):
            seconds = float.__float__(value)  # type: ignore[arg-type]
        elif issubclass(cls, int) and cls is not bool:
            seconds = int.__float__(value)  # type: ignore[arg-type]
        else:
            return None
    except OverflowError:
        return HUGE_WAIT_S if int.__gt__(value, 0) else None  # type: ignore[operator]
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _leaves(error: BaseException) -> list[BaseException]:
    """The exceptions that a group holds, in order; each once, however the groups hold one another."""
    leaves: list[BaseException] = []
    waiting, seen = [error], {id(error)}
    while waiting and len(leaves) < MAX_LEAVES:
        one = waiting.pop()
        if not issubclass(type(one), BaseExceptionGroup):
            leaves.append(one)
            continue
        inner = vars(BaseExceptionGroup)["exceptions"].__get__(one)  # not what the plugin's class says
        fresh = [leaf for leaf in inner if id(leaf) not in seen]
        seen.update(map(id, fresh))
        waiting.extend(reversed(fresh))
    return leaves


def _being_closed() -> bool:
    """Whether Python takes apart what trio has left behind; at any other time it was the plugin that raised."""
    return not trio.lowlevel.in_trio_run() and threading.current_thread() is threading.main_thread()


def _being_cancelled() -> bool:
    try:
        return trio.current_effective_deadline() == float("-inf")
    except RuntimeError:  # in a worker thread, where nothing can be cancelled
        return False


def _ours(leaf: BaseException, plugin: str, source_files: SourceFiles) -> Exception:
    cls = type(leaf)
    if cls in _MADE_HERE and isinstance(leaf, Exception):
        return leaf
    if issubclass(cls, RetryLater):
        return _retry_later(leaf, source_files)
    for kind in _OUTCOMES:
        if issubclass(cls, kind):
            return kind(_reason(leaf))
    if issubclass(cls, HttpFailed):
        return HttpFailed(_reason(leaf), maybe_sent=_attribute(leaf, "maybe_sent") is True)
    if issubclass(cls, trio.TooSlowError):
        return DeadlineExceeded("a deadline of the plugin's own has passed")
    place = source_files.raised_at(leaf)
    if issubclass(cls, ConnectionError | TimeoutError):
        return NoConnection(with_location(place, describe_error(leaf)))
    return PluginCodeFailed(plugin, with_location(place, _what(leaf)), error_kind(leaf))


def _retry_later(leaf: BaseException, source_files: SourceFiles) -> RetryLater:
    reason, asked = _reason(leaf), _attribute(leaf, "after")
    after = seconds_of(asked)
    if asked is None or after is not None:
        return RetryLater(reason, after=after)
    place = source_files.raised_at(leaf)
    return RetryLater(
        with_location(reason, with_location(place, f"after should be a number of seconds, not {_kind(asked)}"))
    )


def _what(leaf: BaseException) -> str:
    cls = type(leaf)
    if issubclass(cls, PluginError):
        return _reason(leaf)
    if issubclass(cls, SystemExit):
        code = _attribute(leaf, "code")
        shown = code if type(code) is int or code is None else repr(safe_text(code))
        return f"sys.exit({shown}) was called"
    said = describe_error(leaf)
    # trio's text is twenty lines for people who write nurseries of their own.
    return "a cancel scope was left open" if said.startswith(_TRIO_SAYS) else said


def _reason(leaf: BaseException) -> str:
    """The words of an outcome: its ``reason``, and its text if the plugin's class has none."""
    reason = _attribute(leaf, "reason")
    text = safe_text(leaf if reason is None else reason)
    return "" if text == "None" else text


def _attribute(leaf: BaseException, name: str) -> object:
    """The attribute, None if there is none or it cannot be had: a property of the plugin's class may raise."""
    try:
        return BaseException.__getattribute__(leaf, name)
    except BaseException:  # noqa: BLE001  # the border to plugin code
        return None


def _kind(value: object) -> str:
    name = safe_text(type.__getattribute__(type(value), "__name__"), 100)
    return repr(value)[:40] if type(value) in (int, float, bool) else article(name)


def article(noun: str) -> str:
    """``an int``, ``a dict``."""
    return f"an {noun}" if noun[:1].lower() in set("aeiou") else f"a {noun}"


def _rank(fault: Exception) -> tuple[int, float]:
    place = next(index for index, kind in enumerate(_PRECEDENCE) if isinstance(fault, kind))
    asked = fault.after if isinstance(fault, RetryLater) and fault.after is not None else 0.0
    return place, -asked
