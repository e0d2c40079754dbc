"""The fixture ``open_plugin`` treats a plugin as the agent does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from pydantic import ValidationError

from aintandem_notify.api import (
    Duration,
    HttpAnswer,
    HttpFailed,
    Notification,
    Plugin,
    PluginConfig,
    Rate,
    Receipt,
    RetryLater,
    Secret,
    hookimpl,
)
from aintandem_notify.plugins.border import ConventionBroken
from aintandem_notify.testing import MakeNotification, OpenPlugin, ScriptedHttp, plugin_opener


class Config(PluginConfig):
    url: str
    token: Secret
    pause: Duration = 1.0


class Poster(Plugin[Config]):
    async def crash(self) -> None:
        raise RuntimeError("crashed")

    async def tick(self) -> None:
        while True:
            self.ticks.append("tick")
            await trio.sleep(self.config.pause)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self.ticks: list[str] = []
        self.context.nursery.start_soon(self.tick)
        yield
        self.ticks.append("torn down")

    @hookimpl
    async def deliver(self, notification: Notification) -> Receipt:
        answer = await self.context.http.post(self.config.url, json={"text": notification.title})
        if answer.status != 200:
            raise RetryLater(f"HTTP {answer.status}")
        return {"id": answer.json()["id"]}


KEYS: dict[str, Any] = {"url": "http://127.0.0.1:9/x", "token": "not-a-real-token", "pause": "10s"}


async def test_an_instance_is_inside_its_lifespan_with_background_tasks(
    open_plugin: OpenPlugin, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_plugin(Poster, **KEYS) as plugin:
        assert plugin.config.token.reveal() == "not-a-real-token"
        assert plugin.context.name == "plugin.test"
        await trio.sleep(15)
    await trio.sleep(60)
    assert plugin.ticks == ["tick", "tick", "torn down"]


async def test_its_requests_can_be_answered_by_a_script(
    open_plugin: OpenPlugin, make_notification: MakeNotification
) -> None:
    http = ScriptedHttp(HttpAnswer(200, {}, b'{"id": 7}'), HttpAnswer(503, {}), HttpFailed("refused"))
    notification = make_notification("task_failed", title="no")
    async with open_plugin(Poster, context={"http": http}, **KEYS) as plugin:
        assert await plugin.deliver(notification) == {"id": 7}
        with pytest.raises(RetryLater, match="HTTP 503"):
            await plugin.deliver(notification)
        with pytest.raises(HttpFailed):
            await plugin.deliver(notification)
    assert http.asked == [("POST", KEYS["url"], {"json": {"text": "no"}})] * 3


async def test_an_exception_of_the_test_is_not_wrapped(open_plugin: OpenPlugin) -> None:
    with pytest.raises(AssertionError, match="mine"):
        async with open_plugin(Poster, **KEYS):
            raise AssertionError("mine")


async def test_a_wrong_table_and_a_class_that_is_no_plugin_are_said(open_plugin: OpenPlugin) -> None:
    class Misspelt(Plugin[PluginConfig]):
        @hookimpl
        def delivr(self, notification: Notification) -> None:
            """Never called."""

    with pytest.raises(ValidationError):
        async with open_plugin(Poster, uri="x"):
            pass
    with pytest.raises(ConventionBroken, match="did you mean deliver"):
        async with open_plugin(Misspelt):
            pass


async def test_a_background_task_that_raises_does_not_pass_unseen(open_plugin: OpenPlugin) -> None:
    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery, plugin_opener(nursery)(Poster, **KEYS) as plugin:
            plugin.context.nursery.start_soon(plugin.crash)
            await trio.sleep_forever()


async def test_defaults_are_read_as_the_agent_reads_them(open_plugin: OpenPlugin) -> None:
    class Paced(PluginConfig):
        rate: Rate | None = "1/s"  # type: ignore[assignment]  # as the config has it

    class Wrong(PluginConfig):
        rate: Rate | None = "often"  # type: ignore[assignment]

    class Fast(Plugin[Paced]):
        @hookimpl
        def deliver(self, notification: Any) -> None: ...

    class Never(Plugin[Wrong]):
        @hookimpl
        def deliver(self, notification: Any) -> None: ...

    async with open_plugin(Fast) as plugin:
        assert plugin.config.rate == Rate(1, 1.0)
    with pytest.raises(ValueError, match="rate: not a rate"):
        async with open_plugin(Never):
            pass
