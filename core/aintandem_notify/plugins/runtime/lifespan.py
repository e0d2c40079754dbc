"""Runs the ``lifespan`` of an instance: set-up, use, tear-down.

Set-up and tear-down each have a deadline. When a background task raises, the lifespan is torn down as if the agent
stopped, and the task's error is raised afterwards.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from types import CoroutineType
from typing import Any, Final

import trio

from aintandem_notify.api import Plugin
from aintandem_notify.plugins.border import Border, DeadlineExceeded, LifespanFailed, PluginUnusable
from aintandem_notify.plugins.border.missing_await import WatchedCall, WatchedSteps
from aintandem_notify.plugins.discovery.registry import Hook

_LIFESPAN: Final = "lifespan"
TEAR_DOWN_S: Final = 3.0
"""Seconds for the part of a lifespan after its ``yield``; short, because the agent's exit waits for it."""


class BackgroundTasks:
    """The nursery for an instance's own tasks, and the first error of one of them."""

    def __init__(self, border: Border) -> None:
        self._border = border
        self._crash_scope: trio.CancelScope | None = None
        self.crash: Exception | None = None

    def cancel_on_crash(self, scope: trio.CancelScope | None) -> None:
        """Cancel ``scope`` when a task crashes; at once if one has crashed already. None cancels nothing."""
        self._crash_scope = scope
        if scope is not None and self.crash is not None:
            scope.cancel()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[trio.Nursery]:
        """Open the nursery; leaving the block cancels its tasks."""
        async with trio.open_nursery() as outer:
            yield await outer.start(self._keep_open)
            outer.cancel_scope.cancel()

    async def _keep_open(self, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        # In a task of its own: a crash must not cancel the task that uses the instance.
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                await trio.sleep_forever()
        except BaseException as error:  # noqa: BLE001  # the border to plugin code
            self.crash = self._border.translate_error(error, "lifespan")
            self.cancel_on_crash(self._crash_scope)


async def run_in_lifespan(
    border: Border,
    hooks: Mapping[str, Hook],
    timeout_s: float,
    background: BackgroundTasks,
    use: Callable[[], Awaitable[None]],
) -> None:
    """Run ``use`` between set-up and tear-down; raises LifespanFailed for an error of the plugin.

    ``use`` returns when the instance is to be torn down: on a stop, or after a crash of a background task.
    """
    stage, watched = "lifespan, set-up", border.watch()
    try:
        with trio.CancelScope(deadline=trio.current_time() + timeout_s) as scope:
            background.cancel_on_crash(scope)
            async with _lifespan(border, hooks, watched):
                border.require_awaited(_LIFESPAN, None, watched, is_async=True)
                scope.deadline = float("inf")
                stage = "lifespan"
                await use()
                stage = "lifespan, tear-down"
                scope.deadline = trio.current_time() + TEAR_DOWN_S
            border.require_awaited(_LIFESPAN, None, watched, is_async=True)
    except BaseException as error:  # noqa: BLE001  # the border to plugin code
        raise _lifespan_failure(stage, border.translate_error(error, _LIFESPAN), background) from None
    if background.crash is not None:
        raise _lifespan_failure(stage, background.crash, background)
    if scope.cancelled_caught:
        limit_s = TEAR_DOWN_S if stage.endswith("tear-down") else timeout_s
        raise LifespanFailed(stage, DeadlineExceeded(f"took longer than {limit_s:g} s"))


def _lifespan_failure(stage: str, error: Exception, background: BackgroundTasks) -> LifespanFailed:
    """The failure to raise: a crashed background task is the cause of any later error."""
    if background.crash is not None:
        return LifespanFailed("background task", background.crash)
    return LifespanFailed(stage, error)


def _lifespan(border: Border, hooks: Mapping[str, Hook], watched: WatchedCall) -> AbstractAsyncContextManager[Any]:
    if _LIFESPAN not in hooks:
        return nullcontext()
    manager = hooks[_LIFESPAN].function()
    if not isinstance(manager, AbstractAsyncContextManager):
        raise PluginUnusable(border.plugin, "lifespan returned no async context manager")
    return _WatchedManager(manager, watched)


class _WatchedManager(AbstractAsyncContextManager[Any]):
    """A lifespan whose code before and after ``yield`` is watched."""

    def __init__(self, manager: AbstractAsyncContextManager[Any], watched: WatchedCall) -> None:
        self._manager = manager
        self._watched = watched

    async def __aenter__(self) -> Any:
        return await self._steps(self._manager.__aenter__())

    async def __aexit__(self, *raised: Any) -> bool | None:
        result: bool | None = await self._steps(self._manager.__aexit__(*raised))
        return result

    async def _steps(self, work: Any) -> Any:
        return await (WatchedSteps(work, self._watched) if type(work) is CoroutineType else work)


def has_own_init(plugin_class: type[Plugin[Any]]) -> bool:
    """True if constructing an instance runs plugin code."""
    return plugin_class.__init__ is not object.__init__ or plugin_class.__new__ is not object.__new__
