"""What plugin code raised, as one ordinary exception that says who did what.

A plugin may raise anything: ``SystemExit``, an exception group out of a nursery, an outcome wrapped in one.
None of it may end the agent, and a cancellation of ours must never be taken for a fault.
"""

import threading
import traceback
from pathlib import Path
from typing import Final

import trio

from aintandem_notify.errors import (
    AInTandemNotifyError,
    DestinationBroken,
    HttpFailed,
    Outcome,
    PluginError,
    PluginNotReady,
    Rejected,
    RetryLater,
)


class DeadlineExceeded(AInTandemNotifyError, TimeoutError):
    """A hook took longer than the instance's ``timeout``."""


class Unusable(PluginError):
    """The plugin cannot work as it is written; to try again is no use."""


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


def fault_of(error: BaseException, plugin: str) -> Exception:
    """The one exception that ``error`` comes down to.

    Raises the part of it that is a cancellation of ours, if it has one.
    """
    if isinstance(error, GeneratorExit) and _being_closed():
        raise error
    leaves = _leaves(error)
    cancelled = [leaf for leaf in leaves if isinstance(leaf, trio.Cancelled)]
    if cancelled and _being_cancelled():
        raise cancelled[0]
    faults = [_ordinary(leaf, plugin) for leaf in leaves]
    return min(faults, key=_rank)


def describe(fault: Exception, module_file: Path | None = None) -> str:
    """One line for a log or a status: the reason that was given, or the exception with its line."""
    match fault:
        case Outcome() if fault.reason:
            return fault.reason
        case Outcome():
            return type(fault).__name__
        case PluginError():
            return fault.reason
        case DeadlineExceeded() | HttpFailed():
            return str(fault)
    why = " ".join("".join(traceback.format_exception_only(fault)).split())
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(fault.__traceback__)
        if module_file is not None and frame.filename == str(module_file)
    ]
    return f"{why} ({module_file.name}:{lines[-1]})" if module_file is not None and lines else why


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _being_closed() -> bool:
    """Whether Python takes apart what trio has left behind; at any other time it was the plugin that raised."""
    return not trio.lowlevel.in_trio_run() and threading.current_thread() is threading.main_thread()


def _being_cancelled() -> bool:
    try:
        return trio.current_effective_deadline() == float("-inf")
    except RuntimeError:  # in a worker thread, where nothing can be cancelled
        return False


def _ordinary(leaf: BaseException, plugin: str) -> Exception:
    if isinstance(leaf, trio.TooSlowError):
        late = DeadlineExceeded("a deadline of the plugin's own has passed")
        late.__cause__ = leaf
        return late
    if isinstance(leaf, Exception):
        return leaf
    what = f"sys.exit({leaf.code!r}) was called" if isinstance(leaf, SystemExit) else f"raised {leaf!r}"
    wrapped = PluginError(plugin, what)
    wrapped.__cause__ = leaf
    return wrapped


def _rank(fault: Exception) -> tuple[int, float]:
    place = next(index for index, kind in enumerate(_PRECEDENCE) if isinstance(fault, kind))
    asked = fault.after if isinstance(fault, RetryLater) and fault.after is not None else 0.0
    return place, -asked
