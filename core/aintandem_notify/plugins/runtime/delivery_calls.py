"""Calls ``deliver`` of one instance, and waits for or cancels running calls when its lifespan ends."""

from collections.abc import Sequence
from typing import Final

import trio

from aintandem_notify.domain.notification import Notification
from aintandem_notify.errors import PluginNotReady, RetryLater
from aintandem_notify.plugins.border import Border
from aintandem_notify.plugins.discovery.registry import Hook
from aintandem_notify.plugins.runtime.calls import (
    Delivered,
    DeliveryResult,
    HookCall,
    HookFailure,
    HookResult,
    HookRunner,
    HookValue,
)

INTERRUPTED: Final = "the plugin is being set up again"
"""The reason for a delivery that was cancelled because the lifespan ends."""


class DeliveryCalls:
    """The calls of ``deliver`` of one instance; none runs as a task during the tear-down of its lifespan."""

    def __init__(self, border: Border, runner: HookRunner) -> None:
        self._border = border
        self._runner = runner
        self._running: dict[trio.CancelScope, bool] = {}
        self._call_ended = trio.Event()

    async def deliver(self, hook: Hook, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        """Deliver in order, up to the first failure; returns one result for each attempt."""
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
            results.append(HookFailure(RetryLater(INTERRUPTED)))
        return list(map(_result, results))

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


def _result(result: HookResult) -> DeliveryResult:
    match result:
        case HookValue(receipt):
            return Delivered(receipt)
        case HookFailure(PluginNotReady() as error):
            # Meant for a lifespan; from ``deliver`` it is treated as RetryLater.
            return HookFailure(RetryLater(error.reason))
        case HookFailure():
            return result
