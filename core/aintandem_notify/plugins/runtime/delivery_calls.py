"""The deliveries that one instance is making."""

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


class DeliveryCalls:
    """Hands notifications to ``deliver``, and lets go of them before the lifespan is torn down."""

    def __init__(self, border: Border, lane: HookRunner) -> None:
        self._border = border
        self._lane = lane
        self._running: dict[trio.CancelScope, bool] = {}
        self._ended = trio.Event()

    async def deliver(self, hook: Hook, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        """One after the other, up to the first that is not delivered; a result for each that was tried."""
        calls = [HookCall(hook, hook.bind(notification=notification)) for notification in notifications]
        answers: list[HookResult] = []
        with trio.CancelScope() as scope:
            self._running[scope] = hook.is_async
            try:
                await self._lane.run(calls, self._border.receipt, answers, stop_at_failure=True)
            finally:
                del self._running[scope]
                self._ended.set()
        if scope.cancelled_caught:
            answers.append(HookFailure(RetryLater(INTERRUPTED)))
        return list(map(_result, answers))

    async def finish(self, deadline: float) -> None:
        """Wait for those that run until ``deadline`` (trio's time); then cancel the tasks among them.

        What runs in a thread cannot be cancelled: it goes on, and whoever waits for its result still does.
        """
        with trio.move_on_at(deadline):
            while self._running:
                self._ended = trio.Event()
                await self._ended.wait()
        for scope, is_async in self._running.items():
            if is_async:
                scope.cancel()


def _result(answer: HookResult) -> DeliveryResult:
    match answer:
        case HookValue(receipt):
            return Delivered(receipt)
        case HookFailure(PluginNotReady() as error):
            # Meant for a lifespan; out of ``deliver`` it can only mean the same as this.
            return HookFailure(RetryLater(error.reason))
        case HookFailure():
            return answer
