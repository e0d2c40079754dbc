"""A real webhook on loopback that never takes one message, for its content or its size."""

import json
from collections.abc import Callable, Sequence

import pytest
import trio
from outcome import Error, Value

from aintandem_notify.delivery import DestinationSettings, open_dispatcher
from aintandem_notify.delivery.settlement import Patience
from aintandem_notify.domain.notification import Notification
from aintandem_notify.errors import HttpFailed, Outcome
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.store import DeliveryRow, Storage
from aintandem_notify_webhook import Config, Webhook
from support.http_server import Answer, Received, Reply, Reset
from support.outbox import delivery_rows, event, memory, queue_up
from support.plugin_bench import open_plugin
from support.receivers import WEBHOOK_SECRET, WebhookReceiver, open_webhook_receiver

NAME, BAD = "webhook.a", "t2"
LARGE = "x" * 20_000

Picky = Callable[[Received], Answer | None]


def by_content(answer: Answer) -> Picky:
    return lambda request: answer if f"/{BAD}/" in json.loads(request.body)["data"]["thread"] else None


def by_size(answer: Answer) -> Picky:
    return lambda request: answer if len(request.body) > len(LARGE) else None


class OnePlugin:
    """Calls one plugin object, as the host does."""

    def __init__(self, plugin: Webhook) -> None:
        self.plugin = plugin

    def is_loaded(self, name: str) -> bool:
        return True

    async def wait_loaded(self, name: str) -> None:
        await trio.lowlevel.checkpoint()

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> list[DeliveryResult]:
        (notification,) = notifications
        try:
            await self.plugin.deliver(notification)
        except (Outcome, HttpFailed) as error:
            return [Error(error)]
        return [Value(None)]


def pick(receiver: WebhookReceiver, picky: Picky) -> None:
    """Makes the receiver answer as ``picky`` does, and as usual where that gives None."""
    usual = receiver.server.respond
    receiver.server.respond = lambda request: picky(request) or usual(request)


async def row_of(storage: Storage, run: str) -> DeliveryRow:
    (row,) = [row for row in await storage.run(delivery_rows()) if f"/{run}/" in row.thread]
    return row


HASTY = Patience(backoff_s=(0.01,), message_pauses_s=(0.01,), min_blamed_age_s=0.0)


@pytest.mark.parametrize(
    ("picky", "end"),
    [
        (by_content(Reply(500, b"boom")), "dead"),
        (by_content(Reset()), "dead"),
        (by_content(Reset(b"HTTP/1.1 200 ")), "dead"),
        (by_size(Reply(502)), "delivered"),
        (by_size(Reset()), "delivered"),
    ],
    ids=["500", "reset", "reset in the answer", "502 by size", "reset by size"],
)
async def test_all_others_arrive(picky: Picky, end: str) -> None:
    """One that is refused for its size arrives in the end, as plain text."""
    clock, late = SystemClock(), 0
    async with open_webhook_receiver() as receiver, memory() as storage:
        pick(receiver, picky)
        settings = {"url": receiver.url, "secret": WEBHOOK_SECRET}
        async with (
            open_plugin(Webhook, Config, settings) as plugin,
            open_dispatcher(
                storage=storage,
                host=OnePlugin(plugin),
                clock=clock,
                chance=lambda: 0.0,
                announce=lambda _event: None,
            ) as dispatcher,
        ):
            events = [event("task_failed", run=f"t{n}", error=LARGE if f"t{n}" == BAD else "no") for n in range(6)]
            await storage.run(queue_up(events, [NAME], clock.now()))
            dispatcher.start(DestinationSettings(NAME, max_age=3600.0, patience=HASTY))
            await receiver.wait_for(5)
            while (bad := await row_of(storage, BAD)).state == "queued":
                # Others must arrive between its failures, or nobody could tell whose trouble it is.
                late += 1
                await storage.run(queue_up([event("task_failed", run=f"late{late}")], [NAME], clock.now()))
                dispatcher.wake([NAME])
                await receiver.wait_for(5 + late)
    assert bad.state == end
    assert end == "delivered" or (bad.reason or "").startswith("the destination took other messages, but failed")
    assert set(receiver.ids.values()) == {1}
