"""Calls ``deliver`` of one instance, and waits for or cancels running calls when its lifespan ends."""

from collections.abc import Sequence
from typing import Final

import trio
from outcome import Error

from aintandem_notify.domain.notification import Notification
from aintandem_notify.errors import PluginError, PluginNotReady, RetryLater
from aintandem_notify.plugins.border import Border
from aintandem_notify.plugins.discovery.registry import Hook
from aintandem_notify.plugins.runtime.calls import DeliveryResult, HookCall, HookResult, HookRunner

INTERRUPTED: Final = "the plugin is being set up again"
"""The reason for a delivery that was cancelled because the lifespan ends."""


class DeliveryCalls:
    """The calls of ``deliver`` of one instance; none runs as a task during the tear-down of its lifespan.

    ``hook`` is set while the lifespan runs, if the plugin delivers.
    """

    def __init__(self, name: str, border: Border, runner: HookRunner) -> None:
        self.hook: Hook | None = None
        self._name = name
        self._border = border
        self._runner = runner
        self._running: dict[trio.CancelScope, bool] = {}
        self._call_ended = trio.Event()

    async def deliver(self, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        """Deliver in order, up to the first failure; returns one result for each attempt.

        Waits for a ``deliver`` in a thread that exceeds its deadline; a cancellation abandons it. At most
        ``parallel`` calls may run at a time. Raises PluginError for an instance without ``deliver``.
        """
        if (hook := self.hook) is None:
            raise PluginError(self._name, "it is no destination")
        calls = [HookCall(hook, hook.bind(notification=notification)) for notification in notifications]
        results: list[HookResult] = []
        with trio.CancelScope() as scope:
            self._running[scope] = hook.is_async
            try:
                await self._runner.run(calls, self._border.receipt, results, stop_at_failure=True)
            finally:
                del self._running[scope]
                self._call_ended.set()
        if scope.cancelled_caught:
            results.append(Error(RetryLater(INTERRUPTED)))
        return list(map(_without_set_up_errors, results))

    async def finish(self, deadline: float) -> None:
        """Wait for running calls until ``deadline`` (trio's time), then cancel those that are tasks.

        A call in a thread cannot be cancelled: it continues, and so does the wait for its result.
        """
        with trio.move_on_at(deadline):
            while self._running:
                self._call_ended = trio.Event()
                await self._call_ended.wait()
        for scope, is_async in self._running.items():
            if is_async:
                scope.cancel()


def _without_set_up_errors(result: HookResult) -> DeliveryResult:
    """Turns PluginNotReady into RetryLater: it is meant for a lifespan."""
    if isinstance(result, Error) and isinstance(result.error, PluginNotReady):
        return Error(RetryLater(result.error.reason))
    return result
