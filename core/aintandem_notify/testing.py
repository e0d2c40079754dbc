"""pytest fixtures for plugin authors, and for our own tests.

Installing aintandem-notify makes them available in every test run (a ``pytest11`` entry point), so this module
imports little of ours until a fixture is used. ``make_event`` and ``make_notification`` work in any test;
``open_plugin`` and ``simulator`` need pytest-trio.

    async def test_deliver(open_plugin, make_notification):
        async with open_plugin(MyPlugin, url="http://127.0.0.1:8080") as plugin:
            await plugin.deliver(make_notification("task_failed", error="disk full"))

The same samples are plain functions, for parametrized tests and hypothesis: ``sample_event``,
``sample_notification``, ``sample_run``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import pytest

from aintandem_notify.domain.samples import (
    SAMPLE_DURATION,
    SAMPLE_FIELDS,
    SAMPLE_TIME,
    sample_event,
    sample_notification,
    sample_run,
)

if TYPE_CHECKING:
    import trio

    from aintandem_notify.api import HttpAnswer, HttpFailed, Plugin
    from aintandem_notify.domain.events import Event
    from aintandem_notify.domain.notification import Notification
    from aintandem_notify.simulator import Simulator

__all__ = [
    "SAMPLE_DURATION",
    "SAMPLE_FIELDS",
    "SAMPLE_TIME",
    "SIMULATOR_SPEED",
    "MakeEvent",
    "MakeNotification",
    "OpenPlugin",
    "ScriptedHttp",
    "plugin_opener",
    "sample_event",
    "sample_notification",
    "sample_run",
]

SIMULATOR_SPEED: Final = 200.0
"""The speed of the ``simulator`` fixture, as a multiple of real time."""


class MakeEvent(Protocol):
    """The type of ``make_event``; see ``sample_event``."""

    def __call__(self, event_type: str = "task_completed", /, **fields: Any) -> Event:
        """A realistic event."""
        ...


class MakeNotification(Protocol):
    """The type of ``make_notification``; see ``sample_notification``."""

    def __call__(self, event: Event | str = "task_completed", /, **changes: Any) -> Notification:
        """A realistic notification."""
        ...


PluginT = TypeVar("PluginT", bound="Plugin[Any]")


class OpenPlugin(Protocol):
    """The type of ``open_plugin``."""

    def __call__(
        self, plugin_class: type[PluginT], /, *, context: Mapping[str, Any] | None = None, **keys: Any
    ) -> AbstractAsyncContextManager[PluginT]:
        """An instance with its config and context, set up by its lifespan, as in the agent.

        ``keys`` are its table in the config; ``context`` replaces parts of ``self.context``, such as
        ``{"http": ScriptedHttp(…)}``. Raises pydantic's ValidationError for an invalid table, and one sentence for
        a class that breaks the conventions. A background task that raises fails the test.
        """
        ...


class ScriptedHttp:
    """Replaces ``context.http``: returns prepared answers in order, and records the requests in ``asked``."""

    def __init__(self, *answers: HttpAnswer | HttpFailed) -> None:
        self.answers: deque[HttpAnswer | HttpFailed] = deque(answers)
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        """The method, URL and other arguments of each request."""

    async def request(self, method: str, url: str, **options: Any) -> HttpAnswer:
        """Return the next answer, or raise it if it is an ``HttpFailed``; raises IndexError without one."""
        import trio

        self.asked.append((method, url, options))
        await trio.lowlevel.checkpoint()
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def get(self, url: str, **options: Any) -> HttpAnswer:
        """``request`` with GET."""
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Any) -> HttpAnswer:
        """``request`` with POST."""
        return await self.request("POST", url, **options)


@pytest.fixture(name="make_event")
def _make_event() -> MakeEvent:
    """Makes realistic events of any type: ``make_event("task_failed", error="disk full")``."""
    return sample_event


@pytest.fixture(name="make_notification")
def _make_notification() -> MakeNotification:
    """Makes realistic notifications: ``make_notification("task_failed", error="disk full")``."""
    return sample_notification


@pytest.fixture(name="simulator")
async def _simulator() -> AsyncIterator[Simulator]:
    """An orchestrator on a free port of loopback, ``SIMULATOR_SPEED`` times real time (pytest-trio)."""
    from aintandem_notify.simulator import open_simulator

    async with open_simulator(seed=1, speed=SIMULATOR_SPEED) as simulator:
        yield simulator


@pytest.fixture(name="open_plugin")
def _open_plugin(nursery: trio.Nursery) -> OpenPlugin:
    """Runs a plugin as in the agent: ``async with open_plugin(Pager, url="…") as pager`` (pytest-trio)."""
    return plugin_opener(nursery)


def plugin_opener(nursery: trio.Nursery) -> OpenPlugin:
    """Returns ``open_plugin`` for this nursery; an exception in a plugin's background task cancels it."""

    @asynccontextmanager
    async def open_plugin(
        plugin_class: type[PluginT], /, *, context: Mapping[str, Any] | None = None, **keys: Any
    ) -> AsyncIterator[PluginT]:
        from aintandem_notify.api import HttpClient, PluginContext
        from aintandem_notify.config.plugin_tables.defaults import apply_defaults
        from aintandem_notify.config.types.context import ValidationContext
        from aintandem_notify.foundation.clock import SystemClock
        from aintandem_notify.log import get_logger
        from aintandem_notify.plugins.border import read_class_attributes
        from aintandem_notify.plugins.discovery.conventions import config_model_of, implemented_hooks
        from aintandem_notify.plugins.discovery.registry import Registry

        implemented_hooks(plugin_class)
        read_class_attributes(plugin_class)
        plugin = plugin_class()
        plugin.config = config_model_of(plugin_class).model_validate(keys)
        for invalid in apply_defaults(plugin.config, ValidationContext()):
            raise ValueError(f"{invalid.key}: {invalid.problem}")
        async with HttpClient() as http:
            # In a task of its own, so that exceptions of the test are not wrapped in a group.
            background = await nursery.start(_hold_open)
            defaults = {
                "name": "plugin.test",
                "http": http,
                "log": get_logger("plugin.test"),
                "nursery": background,
                "clock": SystemClock(),
            }
            plugin.context = PluginContext(**(defaults | dict(context or {})))
            lifespan = Registry().register("plugin.test", plugin).get("lifespan")
            try:
                async with lifespan.function() if lifespan is not None else nullcontext():
                    yield plugin
            finally:
                background.cancel_scope.cancel()

    return open_plugin


async def _hold_open(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()
