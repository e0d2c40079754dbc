"""A notification that no destination takes dies alone, after one try as plain text. A restart loses no tries."""

from collections import deque
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from aintandem_notify.delivery import DestinationSettings, open_dispatcher
from aintandem_notify.errors import DestinationBroken, Rejected, RetryLater
from aintandem_notify.plugins.border import PluginCodeFailed
from aintandem_notify.store import Store, open_storage
from support.outbox import NOW, Answer, FakeHost, event, inside, queue_up
from support.trio_clock import TrioClock

WEEK = 7 * 86_400.0


HTML = PluginCodeFailed("file_log.a", "SlackAnswerError: a page", "slack.SlackAnswerError")
"""Returns the error for an invalid response, as a plugin raises it."""


@pytest.mark.parametrize(
    ("answers", "plains", "state", "reason"),
    [
        ([Rejected("HTTP 404"), None], [False, True], "delivered", None),
        (
            [Rejected("HTTP 404"), Rejected("HTTP 404")],
            [False, True],
            "dead",
            "HTTP 404, also as plain text",
        ),
        (
            [HTML] * 4,
            [False, False, False, True],
            "dead",
            "SlackAnswerError: a page (4 times), also as plain text",
        ),
        ([HTML, HTML, None], [False, False, False], "delivered", None),
        (
            [Rejected("odd"), RetryLater("busy"), DestinationBroken("revoked"), Rejected("odd")],
            [False, True, True, True],
            "dead",
            "odd, also as plain text",
        ),
    ],
)
@pytest.mark.parametrize("restarts", [False, True])
async def test_the_tries_of_a_message(
    autojump_clock: MockClock,
    tmp_path: Path,
    answers: list[Answer],
    plains: list[bool],
    state: str,
    reason: str | None,
    restarts: bool,
) -> None:
    """The same result whether or not the agent is killed and restarted between the tries."""
    host = FakeHost(answers=deque(answers))
    async with open_storage(tmp_path / "s.db", inline=True) as storage:
        await storage.run(queue_up([event("task_failed")]))
    clock = TrioClock(NOW)
    for _ in plains if restarts else [None]:
        async with (
            open_storage(tmp_path / "s.db", inline=True) as storage,
            open_dispatcher(
                storage=storage, host=host, clock=clock, chance=lambda: 0.0, announce=lambda _event: None
            ) as dispatcher,
        ):
            tried = len(host.tries)
            dispatcher.start(DestinationSettings("file_log.a", WEEK))
            for _ in range(8000 if restarts else 1):
                await trio.sleep(0.5 if restarts else 4000)
                if restarts and len(host.tries) > tried:
                    break
            ended = await storage.run(inside(_ended))
    assert [notification.plain for _, _, notification in host.tries] == plains
    assert ended == [(state, reason)]


def _ended(store: Store) -> list[tuple[str, str | None]]:
    return [tuple(row) for row in store._connection.exec_driver_sql("SELECT state, reason FROM deliveries")]
