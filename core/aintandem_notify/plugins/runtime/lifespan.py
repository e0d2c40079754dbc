"""One life of an instance: built, set up, in use, torn down.

Set-up and tear-down each have a deadline. A background task that raises ends the life in good order: the
lifespan is torn down as if the agent stopped, and the fault comes out at the end.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Final

import trio

from aintandem_notify.api import Plugin
from aintandem_notify.plugins.border import Border, DeadlineExceeded, LifespanFailed, PluginUnusable
from aintandem_notify.plugins.discovery.registry import Hook

TEAR_DOWN_S: Final = 3.0
"""Seconds that a lifespan may take after its ``yield``; short, because the agent's exit waits for it."""


class BackgroundTasks:
    """The nursery that an instance gets for its own tasks, and the first fault that came out of it."""

    def __init__(self, border: Border) -> None:
        self._border = border
        self._interrupt: trio.CancelScope | None = None
        self.fault: Exception | None = None

    def interrupts(self, scope: trio.CancelScope | None) -> None:
        """From now on a crash cancels ``scope``; at once if there was one already."""
        self._interrupt = scope
        if scope is not None and self.fault is not None:
            scope.cancel()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[trio.Nursery]:
        """The nursery; its tasks are cancelled at the end."""
        async with trio.open_nursery() as holders:
            yield await holders.start(self._hold)
            holders.cancel_scope.cancel()

    async def _hold(self, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        # In a task of its own: a crash in there must not cancel whoever uses the instance.
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                await trio.sleep_forever()
        except BaseException as error:  # noqa: BLE001  # the border to plugin code
            self.fault = self._border.fault(error)
            self.interrupts(self._interrupt)


async def run_in_lifespan(
    border: Border,
    hooks: Mapping[str, Hook],
    timeout_s: float,
    background: BackgroundTasks,
    use: Callable[[], Awaitable[None]],
) -> None:
    """Run ``use`` between set-up and tear-down; raises LifeEnded for what the plugin did wrong.

    ``use`` ends when the instance is to be torn down, in good order or because of a crash in the background.
    """
    stage = "lifespan, set-up"
    try:
        with trio.CancelScope(deadline=trio.current_time() + timeout_s) as span:
            background.interrupts(span)
            async with _lifespan(border, hooks):
                span.deadline = float("inf")
                stage = "lifespan"
                await use()
                stage = "lifespan, tear-down"
                span.deadline = trio.current_time() + TEAR_DOWN_S
    except BaseException as error:  # noqa: BLE001  # the border to plugin code
        raise _ended(stage, border.fault(error), background) from None
    if background.fault is not None:
        raise _ended(stage, background.fault, background)
    if span.cancelled_caught:
        limit_s = TEAR_DOWN_S if stage.endswith("tear-down") else timeout_s
        raise LifespanFailed(stage, DeadlineExceeded(f"took longer than {limit_s:g} s"))


def _ended(stage: str, fault: Exception, background: BackgroundTasks) -> LifespanFailed:
    """A crash in the background is what began it, whatever the tear-down made of it."""
    if background.fault is not None:
        return LifespanFailed("background task", background.fault)
    return LifespanFailed(stage, fault)


def _lifespan(border: Border, hooks: Mapping[str, Hook]) -> AbstractAsyncContextManager[Any]:
    if "lifespan" not in hooks:
        return nullcontext()
    manager = hooks["lifespan"].function()
    if not isinstance(manager, AbstractAsyncContextManager):
        raise PluginUnusable(border.plugin, "lifespan returned no async context manager")
    return manager


def has_own_init(plugin_class: type[Plugin[Any]]) -> bool:
    """Whether making an instance runs code of the plugin."""
    return plugin_class.__init__ is not object.__init__ or plugin_class.__new__ is not object.__new__
