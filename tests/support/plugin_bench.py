"""A plugin instance with its context, before any of its hooks runs, without the agent."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from aintandem_notify.api import HttpAnswer, HttpClient, HttpFailed, Plugin, PluginConfig, PluginContext
from aintandem_notify.foundation.clock import Clock, SystemClock
from aintandem_notify.log import get_logger

PluginT = TypeVar("PluginT", bound=Plugin[Any])


@asynccontextmanager
async def open_plugin(
    plugin_class: type[PluginT],
    config_model: type[PluginConfig],
    settings: Mapping[str, Any],
    *,
    http: HttpClient | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[PluginT]:
    """An instance called ``test.bench``, ready for its hooks; ``settings`` are its table."""
    async with http or HttpClient() as client, trio.open_nursery() as nursery:
        plugin = plugin_class()
        # Long, because a busy machine may answer slowly; no test waits for a timeout.
        plugin.config = config_model.model_validate({"timeout": 300.0, **settings})
        plugin.context = PluginContext(
            name="test.bench",
            http=client,
            log=get_logger("test.bench"),
            nursery=nursery,
            clock=clock or SystemClock(),
        )
        yield plugin
        nursery.cancel_scope.cancel()


class ScriptedHttp(HttpClient):
    """Returns prepared answers without any request, and records the requests and their times."""

    def __init__(self, *answers: HttpAnswer | HttpFailed) -> None:
        super().__init__()
        self.answers = deque(answers)
        self.asked: list[tuple[float, str, dict[str, Any]]] = []
        """The time of trio's clock in seconds, the URL, and the other arguments."""

    async def request(self, method: str, url: str, **options: Any) -> HttpAnswer:
        """The next answer."""
        self.asked.append((trio.current_time(), url, options))
        answer = self.answers.popleft()
        if isinstance(answer, HttpFailed):
            raise answer
        return answer
