"""Translates an exception of plugin code into one of our own, with the plugin's name and the source line.

A plugin may raise anything: ``SystemExit``, an exception group of a nursery, an outcome inside such a group, an
object whose text cannot be read. An outcome is an exception that a plugin raises on purpose, as ``RetryLater``.
No exception of a plugin may end the agent, and a cancellation of ours must never count as an error of the plugin.

The plugin's exception stops here: only its class name, text and known attributes are read. Types are checked with
``type(…)``, because ``isinstance`` trusts the ``__class__`` that an object claims.
"""

import math
import threading
from collections.abc import Callable
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
from aintandem_notify.plugins.border.source_files import with_location

HUGE_WAIT_S: Final = 1e9
"""Seconds used for a whole number that is too large for a float."""
MAX_LEAVES: Final = 1000
"""The number of exceptions that are read from a group."""


Locate = Callable[[BaseException], str]
"""Returns the line of the plugin that raised an exception, as ``plugins/beep.py:7``; empty if unknown."""


class DeadlineExceeded(AInTandemNotifyError, TimeoutError):
    """A hook took longer than the instance's ``timeout``."""


class NoConnection(AInTandemNotifyError, ConnectionError):
    """A plugin's own socket was refused, reset or timed out."""


class PluginUnusable(PluginError):
    """The plugin cannot work as it is written; never retried."""


class PluginCodeFailed(PluginError):
    """Plugin code raised an exception that is no outcome, or returned an invalid value.

    ``kind`` is the exception's class by module and name; equal kinds count as the same error.
    """

    def __init__(self, plugin: str, reason: str, kind: str) -> None:
        super().__init__(plugin, reason)
        self.kind = kind


class LifespanFailed(Exception):
    """A lifespan ended with ``error``, an exception of ours; ``stage`` names the code that raised it."""

    def __init__(self, stage: str, error: Exception) -> None:
        self.stage = stage
        self.error = error
        super().__init__(f"{stage}: {error}")


# The first of these in a group counts: exceptions that keep the notification come before those that drop it.
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
_TRIO_SCOPE_ERROR: Final = "RuntimeError: Cancel scope stack corrupted"
_OWN_CLASSES: Final = frozenset({LifespanFailed, PluginCodeFailed, PluginUnusable, NoConnection, DeadlineExceeded})


def translate_error(error: BaseException, plugin: str, locate: Locate) -> Exception:
    """Translate ``error`` into one exception of our own; of a group, the part with the highest precedence.

    Raises the cancellation of ours that ``error`` is or contains, if any.
    """
    if type(error) is GeneratorExit and _is_interpreter_closing():
        raise error
    leaves = _leaves(error)
    cancelled = [leaf for leaf in leaves if issubclass(type(leaf), trio.Cancelled)]
    if cancelled and _is_cancelled():
        raise cancelled[0]
    return min((_translate_leaf(leaf, plugin, locate) for leaf in leaves), key=_precedence)


def is_from_plugin(error: BaseException) -> bool:
    """True if plugin code raised the error, or a part of it; False for errors that are translated already."""
    return any(type(leaf) not in _OWN_CLASSES for leaf in _leaves(error))


def describe_plugin_error(error: BaseException) -> str:
    """One line for a log or a status, from an error that this module made."""
    match error:
        case Outcome() | PluginError():
            return error.reason or type(error).__name__
        case _:
            return str(error) or type(error).__name__


def plugin_error_kind(error: BaseException) -> str:
    """A key that is equal for two errors of the same kind; for errors that this module made."""
    return error.kind if isinstance(error, PluginCodeFailed) else error_kind(error)


def seconds_of(value: object) -> float | None:
    """Seconds to wait, from a plugin's number or timedelta; None for a negative value or another type."""
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


def way_to(leaf: BaseException, error: BaseException) -> list[BaseException]:
    """``leaf``, the group that it is in, and so on out to ``error``."""
    _, parents = _walk(error)
    way = [leaf]
    while (parent := parents.get(id(way[-1]))) is not None:
        way.append(parent)
    return way


def _leaves(error: BaseException) -> list[BaseException]:
    return _walk(error)[0]


def _walk(error: BaseException) -> tuple[list[BaseException], dict[int, BaseException]]:
    """The exceptions of a group in order, each once, even if groups contain each other; and the group of each, by
    the ``id`` of the exception.
    """
    leaves: list[BaseException] = []
    parents: dict[int, BaseException] = {}
    pending, seen = [error], {id(error)}
    while pending and len(leaves) < MAX_LEAVES:
        candidate = pending.pop()
        if not issubclass(type(candidate), BaseExceptionGroup):
            leaves.append(candidate)
            continue
        inner = vars(BaseExceptionGroup)["exceptions"].__get__(candidate)  # a plugin's class may override it
        unseen = [leaf for leaf in inner if id(leaf) not in seen]
        seen.update(map(id, unseen))
        parents.update((id(leaf), candidate) for leaf in unseen)
        pending.extend(reversed(unseen))
    return leaves, parents


def _is_interpreter_closing() -> bool:
    """True if Python closes coroutines after trio's run; at any other time the plugin raised GeneratorExit."""
    return not trio.lowlevel.in_trio_run() and threading.current_thread() is threading.main_thread()


def _is_cancelled() -> bool:
    try:
        return trio.current_effective_deadline() == float("-inf")
    except RuntimeError:  # in a worker thread, where nothing can be cancelled
        return False


def _translate_leaf(leaf: BaseException, plugin: str, locate: Locate) -> Exception:
    cls = type(leaf)
    if cls in _OWN_CLASSES and isinstance(leaf, Exception):
        return leaf
    if issubclass(cls, RetryLater):
        return _retry_later(leaf, locate)
    for kind in _OUTCOMES:
        if issubclass(cls, kind):
            return kind(_reason(leaf))
    if issubclass(cls, HttpFailed):
        return HttpFailed(_reason(leaf), maybe_sent=_attribute(leaf, "maybe_sent") is True)
    if issubclass(cls, trio.TooSlowError):
        return DeadlineExceeded(with_location(locate(leaf), "a deadline of the plugin's own has passed"))
    location = locate(leaf)
    if issubclass(cls, ConnectionError | TimeoutError):
        return NoConnection(with_location(location, describe_error(leaf)))
    return PluginCodeFailed(plugin, with_location(location, _describe(leaf)), error_kind(leaf))


def _retry_later(leaf: BaseException, locate: Locate) -> RetryLater:
    reason, value = _reason(leaf), _attribute(leaf, "after")
    after = seconds_of(value)
    if value is None or after is not None:
        return RetryLater(reason, after=after)
    problem = f"after should be a number of seconds, not {_describe_value(value)}"
    return RetryLater(with_location(reason, with_location(locate(leaf), problem)))


def _describe(leaf: BaseException) -> str:
    cls = type(leaf)
    if issubclass(cls, PluginError):
        return _reason(leaf)
    if issubclass(cls, SystemExit):
        code = _attribute(leaf, "code")
        argument = code if type(code) is int or code is None else repr(safe_text(code))
        return f"sys.exit({argument}) was called"
    text = describe_error(leaf)
    # trio's own text has twenty lines, for people who implement nurseries.
    return "a cancel scope was left open" if text.startswith(_TRIO_SCOPE_ERROR) else text


def _reason(leaf: BaseException) -> str:
    """The ``reason`` of an outcome, or its text if the plugin's class has none."""
    reason = _attribute(leaf, "reason")
    text = safe_text(leaf if reason is None else reason)
    return "" if text == "None" else text


def _attribute(leaf: BaseException, name: str) -> object:
    """The attribute; None if it is missing or cannot be read: a property of the plugin's class may raise."""
    try:
        return BaseException.__getattribute__(leaf, name)
    except BaseException:  # noqa: BLE001  # the border to plugin code
        return None


def _describe_value(value: object) -> str:
    name = safe_text(type.__getattribute__(type(value), "__name__"), 100)
    return repr(value)[:40] if type(value) in (int, float, bool) else article(name)


def article(noun: str) -> str:
    """``an int``, ``a dict``."""
    return f"an {noun}" if noun[:1].lower() in set("aeiou") else f"a {noun}"


def _precedence(error: Exception) -> tuple[int, float]:
    rank = next(index for index, kind in enumerate(_PRECEDENCE) if isinstance(error, kind))
    wait_s = error.after if isinstance(error, RetryLater) and error.after is not None else 0.0
    return rank, -wait_s
