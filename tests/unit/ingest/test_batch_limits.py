"""The size of a transaction, as a table."""

from datetime import UTC, datetime

import pytest

from aintandem_notify.domain.events import Family
from aintandem_notify.domain.observation import Gap, Observation, ObservationBatch
from aintandem_notify.domain.runs import RunRef, RunState
from aintandem_notify.ingest.batch_limits import (
    MAX_EVENTS,
    MAX_JOURNALED,
    MAX_TEXT_CHARACTERS,
    MOST_JOURNALED,
    next_journal_limit,
    split_events,
    split_observations,
)
from support.outbox import NO_EVENTS, event, router


@pytest.mark.parametrize(
    ("journaled", "cached", "limit"),
    [
        (250, 250, 250),  # every event makes a notification, and workers read the cache
        (250, 500, 250),  # earlier cached notifications were sent meanwhile
        (250, 125, 500),  # half of the events make a notification
        (250, 10, 1000),  # hardly any do
        (250, 0, 1000),  # no rule matches, or the cache is full
        (1000, 1000, 250),  # the cache has room again
        (1000, 250, 1000),
        (1, 1, 250),
        (0, 0, 250),
    ],
)
def test_a_transaction_is_larger_if_nobody_reads_the_cache(journaled: int, cached: int, limit: int) -> None:
    assert next_journal_limit(journaled, cached) == limit


def test_events_are_split_by_the_limit_at_that_moment() -> None:
    limits = iter([MAX_JOURNALED, MOST_JOURNALED, MAX_JOURNALED, MAX_JOURNALED])
    ends = [event("task_completed", run=f"t{number}") for number in range(MAX_JOURNALED + MOST_JOURNALED + 7)]
    pieces = list(split_events(ends, router(), lambda: next(limits)))
    assert [journaled for _, journaled, _ in pieces] == [MAX_JOURNALED, MOST_JOURNALED, 7]
    assert [one for piece, _, _ in pieces for one in piece] == ends


def test_unrouted_progress_fills_a_piece_too() -> None:
    lines = [event("output", at=number) for number in range(2 * MAX_EVENTS + 1)]
    pieces = list(split_events(lines, router(events=NO_EVENTS), lambda: MAX_JOURNALED))
    assert [(len(piece), journaled) for piece, journaled, _ in pieces] == [
        (MAX_EVENTS, 0),
        (MAX_EVENTS, 0),
        (1, 0),
    ]


def test_long_texts_fill_a_transaction_so_that_other_projects_get_their_turn() -> None:
    long = [event("task_failed", run=f"t{number}", error="x" * (MAX_TEXT_CHARACTERS // 2)) for number in range(5)]
    short = [event("task_failed", run=f"s{number}") for number in range(3)]
    pieces = list(split_events([*long, *short], router(), lambda: MAX_JOURNALED))
    assert [len(piece) for piece, _, _ in pieces] == [2, 2, 4]
    assert all(text < 2 * MAX_TEXT_CHARACTERS for _, _, text in pieces)


def test_observations_with_long_texts_are_split_like_events() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    observations = tuple(
        Observation(RunRef("p", Family.TASK, f"t{number}"), RunState.FAILED, error="x" * 8000, output="y" * 8000)
        for number in range(100)
    )
    pieces = list(split_observations(ObservationBatch(observations, Gap(now, now, now, 60.0), 0, {})))
    assert [one for batch, _ in pieces for one in batch.observations] == list(observations)
    assert max(text for _, text in pieces) < MAX_TEXT_CHARACTERS + 16_001
    assert [
        len(batch.observations)
        for batch, _ in split_observations(ObservationBatch(observations[:3], Gap(now, now, now, 60.0), 0, {}))
    ] == [3]
    assert list(split_observations(ObservationBatch((), Gap(now, now, now, 60.0), 0, {}))) == []
