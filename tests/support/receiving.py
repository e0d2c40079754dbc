"""A destination in virtual time: the real store, worker and plugin, with prepared answers of the receiver.

(nasty,) = collect([wire_answer])       # outside of trio: the client reads the bytes from a real socket
async with open_destination(Webhook, Config, keys, lambda _body: nasty) as destination:
    await destination.queue(3)
    await trio.sleep(60)
    assert await destination.states() == ["queued"] * 3
"""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
from outcome import Error, Value

from aintandem_notify.api import HttpAnswer, HttpClient, HttpFailed, Notification, Plugin, PluginConfig
from aintandem_notify.delivery import DestinationSettings, Dispatcher, open_dispatcher
from aintandem_notify.delivery.dispatcher import DestinationStatus
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.store import DeliveryFilter, Storage, Store
from support.http_server import open_servers
from support.nasty.wire import Then, WireAnswer
from support.outbox import NOW, event, inside, memory, queue_up
from support.plugin_bench import open_plugin
from support.trio_clock import TrioClock

DAY_S = 86_400.0
NAME = "test.bench"

_ENDLESS = (Then.SILENCE, Then.GO_ON)

HttpResult = HttpAnswer | HttpFailed


def collect(answers: Iterable[WireAnswer], max_body: int = 262_144) -> list[HttpResult]:
    """The results of one POST for each answer, over real sockets."""

    async def collect_all() -> list[HttpResult]:
        played = list(answers)
        async with open_servers(len(played)) as servers, HttpClient() as http:
            for server, answer in zip(servers, played, strict=True):
                server.replies.append(answer)
            return [
                await _post(http, server.base, max_body, 0.5 if answer.then in _ENDLESS else 60.0)
                for server, answer in zip(servers, played, strict=True)
            ]

    return trio.run(collect_all)


async def _post(http: HttpClient, url: str, max_body: int, timeout: float) -> HttpResult:
    try:
        return await http.post(url, json={}, need_body=False, max_body=max_body, timeout=timeout)
    except HttpFailed as error:
        return error


class AnsweringHttp(HttpClient):
    """Gives the result of ``respond`` for each body, at once; records times and bodies."""

    def __init__(self, respond: Callable[[Mapping[str, Any]], HttpResult]) -> None:
        super().__init__()
        self._respond = respond
        self.requests: list[tuple[float, Mapping[str, Any]]] = []

    async def request(self, method: str, url: str, **options: Any) -> HttpAnswer:
        """The prepared result."""
        await trio.lowlevel.checkpoint()
        content = options.get("content")
        body = options["json"] if content is None else json.loads(content)
        self.requests.append((trio.current_time(), body))
        result = self._respond(body)
        if isinstance(result, HttpFailed):
            raise result
        return result


@dataclass
class Destination:
    """A destination at work. ``http`` has the requests."""

    storage: Storage
    dispatcher: Dispatcher
    http: AnsweringHttp

    async def queue(self, count: int) -> None:
        """Queue failures of so many tasks, ``t0`` first."""
        events = [event("task_failed", run=f"t{number}", at=number, error="boom") for number in range(count)]
        await self.storage.run(queue_up(events, (NAME,)))
        self.dispatcher.wake([NAME])

    async def states(self) -> list[str]:
        """The states of its deliveries, the oldest first."""

        def states(store: Store) -> list[str]:
            queries = store.delivery_queries
            rows = queries.rows(queries.ids(DeliveryFilter(), limit=1000))
            return [row.state.value for row in sorted(rows, key=lambda row: row.id)]

        return await self.storage.run(inside(states))

    async def status(self) -> DestinationStatus:
        """The state of the destination."""
        (status,) = await self.dispatcher.snapshot()
        return status


class OnePlugin:
    """Calls one plugin, as the plugin host does."""

    def __init__(self, plugin: Plugin[Any]) -> None:
        self._plugin: Any = plugin

    def is_loaded(self, _name: str) -> bool:
        """True."""
        return True

    async def wait_loaded(self, _name: str) -> None:
        """Return at once."""
        await trio.lowlevel.checkpoint()

    async def deliver(self, _name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        """Deliver them in order, up to the first failure."""
        results: list[DeliveryResult] = []
        for notification in notifications:
            try:
                results.append(Value(await self._plugin.deliver(notification)))
            except Exception as error:  # noqa: BLE001  # any error of a plugin is a result
                results.append(Error(error))
                break
        return results


@asynccontextmanager
async def open_destination(
    plugin_class: type[Plugin[Any]],
    config_model: type[PluginConfig],
    keys: Mapping[str, Any],
    respond: Callable[[Mapping[str, Any]], HttpResult],
) -> AsyncIterator[Destination]:
    """A destination with the agent's own pauses, without jitter."""
    clock, http = TrioClock(NOW), AnsweringHttp(respond)
    async with (
        memory() as storage,
        open_plugin(plugin_class, config_model, keys, http=http, clock=clock) as plugin,
        open_dispatcher(
            storage=storage,
            host=OnePlugin(plugin),
            clock=clock,
            chance=lambda: 0.0,
            announce=lambda _event: None,
        ) as dispatcher,
    ):
        dispatcher.start(DestinationSettings(name=NAME, max_age=30 * DAY_S))
        yield Destination(storage, dispatcher, http)
