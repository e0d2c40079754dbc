"""Callbacks of the library's users: sync or async, and what they raise hurts only themselves."""

from collections.abc import Callable, Mapping, Sequence
from inspect import isawaitable
from typing import Any, Final, TypeVar

from aintandem_notify import log
from aintandem_notify.client.channels.subscriber_queue import QueueClosed, SubscriberQueue

T = TypeVar("T")
Callback = Callable[[T], Any]
"""Takes one value; what it returns is awaited if it can be, and not used."""
OnError = Callable[[Exception, Any], object]
"""Gets what a callback raised, and what it was called with."""

_log: Final = log.get_logger(__name__)


def checked_callback(callback: object, argument: str) -> None:
    """Raise TypeError when ``what`` cannot be called: not only when the first event comes."""
    if not callable(callback):
        raise TypeError(f"{argument} should be a function or another callable, not {type(callback).__name__}")


class CallbackRunner:
    """Tells of callbacks that raised: each first time in the log, and every time to ``on_error``."""

    def __init__(self, on_error: OnError | None) -> None:
        self._on_error = on_error
        self._logged: set[str] = set()

    async def call(self, callback: Callback[T], value: T) -> None:
        """Call it with ``value``; what it raises is reported."""
        try:
            result = callback(value)
            if result is not None and isawaitable(result):
                await result
        except Exception as error:  # noqa: BLE001  # the border of a callback: the others go on
            self.report(callback, error, value)

    def report(self, callback: Callback[Any], error: Exception, value: object) -> None:
        """``callback`` raised ``error`` when it was called with ``value``."""
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        if name not in self._logged:
            self._logged.add(name)
            _log.error("a callback raised; more from it goes to on_error only", callback=name, exc_info=error)
        if self._on_error is not None:
            try:
                self._on_error(error, value)
            except Exception:  # noqa: BLE001  # as above; there is nobody left to tell
                _log.exception("on_error itself raised")


async def run_callbacks(
    queue: SubscriberQueue,
    callback: Callback[Any],
    callbacks_by_type: Mapping[str, Sequence[Callback[Any]]],
    callback_runner: CallbackRunner,
) -> None:
    """Call ``callback`` with each event of ``queue`` until it is closed, and then those for its type in ``more``.

    Unsubscribing lets a call that has begun come to its end, and no other begins.
    """
    while True:
        try:
            events = await queue.take()
        except Exception:  # noqa: BLE001  # QueueClosed, or why the connection ended: told to its listeners
            return
        for event in events:
            if queue.is_discarded:
                return
            try:
                result = callback(event)
                if result is not None and isawaitable(result):
                    await result
            except Exception as error:  # noqa: BLE001  # the border of a callback
                callback_runner.report(callback, error, event)
            if callbacks_by_type:
                for other in callbacks_by_type.get(event.type, ()):
                    if queue.is_discarded:
                        return
                    await callback_runner.call(other, event)
        # Before the next are made: so they take the memory of these, which the processor has at hand.
        del event, events


__all__ = ["Callback", "CallbackRunner", "OnError", "QueueClosed", "checked_callback", "run_callbacks"]
