"""Outages, refusals, kills, summaries and fallbacks together: each notification reaches a final state."""

from collections import deque
from datetime import timedelta
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery import DestinationSettings, open_dispatcher
from aintandem_notify.errors import DestinationBroken, HttpFailed, Rejected, RetryLater
from aintandem_notify.store import Storage, Store
from support.outbox import NOW, Answer, FakeHost, event, inside, queue_up
from support.trio_clock import TrioClock

FIRST, OTHER = "slack.team", "slack.other"
WEEK = 7 * 86_400.0

ANSWERS: list[Answer] = [
    None,
    None,
    RetryLater("busy"),
    RetryLater("busy", after=700),
    HttpFailed("refused"),
    DestinationBroken("revoked"),
    Rejected("odd"),
    KeyError("a"),
]
KINDS = ("task_started", "task_completed", "task_cancelled", "task_failed")

arrivals = st.tuples(st.integers(1, 9), st.sampled_from(KINDS), st.sampled_from([0.0, 100.0, 1000.0]))


def rows(store: Store) -> list[Any]:
    return list(
        store._connection.exec_driver_sql(
            "SELECT d.notification_id AS id, d.destination, d.state, d.reason, e.type FROM deliveries d"
            " JOIN notifications n ON n.id = d.notification_id JOIN events e ON e.key = n.event_key ORDER BY d.id"
        )
    )


async def live_through(
    store: Store, answers: list[Answer], waves: list[tuple[int, str, float]], fallback: bool
) -> None:
    """Each wave runs in a life of its own; the last one runs until nothing is waiting."""
    storage = Storage(store, inline=True)
    host = FakeHost(answers=deque(answers))
    clock = TrioClock(NOW)
    named = 0
    for last, (count, kind, pause) in [*((False, wave) for wave in waves), (True, (0, KINDS[0], 0.0))]:
        async with open_dispatcher(
            storage=storage, host=host, clock=clock, chance=lambda: 0.0, announce=lambda _event: None
        ) as dispatcher:
            takes_over = {"fallback": OTHER, "fallback_after": 3000.0} if fallback else {}
            dispatcher.start(
                DestinationSettings(FIRST, WEEK, Rate(1, 1.0), digest_over=4, **takes_over)  # type: ignore[arg-type]
            )
            dispatcher.start(DestinationSettings(OTHER, WEEK))
            happened = [event(kind, run=f"t{number}") for number in range(named, named + count)]
            named += count
            await storage.run(queue_up(happened, [FIRST], clock.now()))
            dispatcher.wake([FIRST])
            await trio.sleep(pause)
            for _ in range(1000 if last else 0):
                if not await storage.run(inside(lambda store: store.outbox.queues())):
                    return
                await trio.sleep(timedelta(minutes=5).total_seconds())


@settings(max_examples=40)
@given(
    answers=st.lists(st.tuples(st.sampled_from(ANSWERS), st.integers(1, 5)), max_size=8),
    waves=st.lists(arrivals, max_size=8),
    fallback=st.booleans(),
)
def test_each_notification_has_its_end(
    answers: list[tuple[Answer, int]], waves: list[tuple[int, str, float]], fallback: bool
) -> None:
    """Each response occurs as often as the table requires."""
    given_answers = [answer for answer, times in answers for _ in range(times)]
    store = Store("sqlite://")
    trio.run(live_through, store, given_answers, waves, fallback, clock=MockClock(autojump_threshold=0))
    ended = inside(rows)(store)
    store.close()
    by_id = {(row.id, row.destination): row for row in ended}
    assert all(row.state in {"delivered", "dead", "folded"} for row in ended)
    reported = [row for row in ended if row.type != "backlog_folded" and row.destination == FIRST]
    assert len(reported) == sum(count for count, _, _ in waves)
    for row in ended:
        if row.state == "folded":
            assert row.type != "task_failed"
            summary = row.reason.removeprefix("in the summary ")
            assert (summary, FIRST) in by_id
        elif row.state == "dead" and row.destination == FIRST and fallback:
            assert row.reason.endswith("; slack.other took over")
            assert (row.id, OTHER) in by_id
        elif row.state == "dead":
            assert row.reason.endswith("also as plain text")
