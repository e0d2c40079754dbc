"""Runs the callbacks of the library's users, sync or async. An exception in one does not affect the others."""

from collections.abc import Callable, Mapping, Sequence
from inspect import getattr_static, isawaitable
from types import FunctionType, MethodType
from typing import Any, Final, TypeVar

from aintandem_notify import log
from aintandem_notify.client.channels.subscriber_queue import QueueClosed, SubscriberQueue

T = TypeVar("T")
Callback = Callable[[T], Any]
"""Takes one value. If it returns an awaitable, that is awaited; the result is not used."""
OnError = Callable[[Exception, Any], object]
"""Gets the exception of a callback, and the value that the callback was called with."""

_log: Final = log.get_logger(__name__)


def require_callable(callback: object, argument: str) -> None:
    """Raise TypeError now, not only at the first event, if ``callback`` is not callable."""
    if not callable(callback):
        raise TypeError(f"{argument} should be a function or another callable, not {type(callback).__name__}")


class CallbackRunner:
    """Calls callbacks and reports their exceptions.

    Each goes to ``on_error``; the first of a callback is also logged.
    """

    def __init__(self, on_error: OnError | None) -> None:
        self._on_error = on_error
        self._logged: set[str] = set()

    async def call(self, callback: Callback[T], value: T) -> None:
        """Call ``callback`` with ``value``. Reports an exception instead of raising it."""
        try:
            result = callback(value)
            if result is not None and isawaitable(result):
                await result
        except Exception as error:  # noqa: BLE001  # border of a callback: the others go on
            self.report(callback, error, value)

    def report(self, callback: Callback[Any], error: Exception, value: object) -> None:
        """Report that ``callback(value)`` raised ``error``."""
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        if name not in self._logged:
            self._logged.add(name)
            _log.error("a callback raised; more from it goes to on_error only", callback=name, exc_info=error)
        if self._on_error is not None:
            try:
                self._on_error(error, value)
            except Exception:  # noqa: BLE001  # as above; on_error itself is the last to report to
                _log.exception("on_error itself raised")


async def run_callbacks(
    queue: SubscriberQueue,
    callback: Callback[Any],
    callbacks_by_type: Mapping[str, Sequence[Callback[Any]]],
    callback_runner: CallbackRunner,
) -> None:
    """Call ``callback`` with each event of ``queue`` until the queue is closed.

    Afterwards the event goes to the callbacks that ``callbacks_by_type`` has for its type. After an unsubscribe,
    the call in progress finishes and no other begins.
    """
    call = _direct_call(callback)
    while True:
        try:
            events = await queue.take()
        except Exception:  # noqa: BLE001  # QueueClosed or the connection's error, which listeners get
            return
        for event in events:
            if queue.is_discarded:
                return
            try:
                result = call(event)
                if result is not None and isawaitable(result):
                    await result
            except Exception as error:  # noqa: BLE001  # border of a callback
                callback_runner.report(callback, error, event)
            if callbacks_by_type:
                for other in callbacks_by_type.get(event.type, ()):
                    if queue.is_discarded:
                        return
                    await callback_runner.call(other, event)
        # Freed before the next batch is made, so that it reuses this memory, which is in the processor's cache.
        del event, events


def _direct_call(callback: Callback[Any]) -> Callback[Any]:
    """The callback, or the method that Python would look up at each call of an object that has ``__call__``."""
    method = getattr_static(type(callback), "__call__", None)
    return MethodType(method, callback) if isinstance(method, FunctionType) else callback


__all__ = ["Callback", "CallbackRunner", "OnError", "QueueClosed", "require_callable", "run_callbacks"]
