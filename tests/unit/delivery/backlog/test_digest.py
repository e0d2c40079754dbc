"""Selecting the deliveries of a backlog for a summary, and the summary's content."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.delivery.backlog.digest import (
    MAX_TYPES,
    FoldCandidate,
    build_summary,
    most_common,
    select_foldable,
)
from aintandem_notify.domain.notification import Severity
from aintandem_notify.store import BacklogSummary
from support.outbox import NOW

INFO, SUCCESS, WARNING = Severity.INFO, Severity.SUCCESS, Severity.WARNING


def queue(*parts: tuple[int, Severity]) -> list[FoldCandidate]:
    """Returns so many candidates of each severity, one after the other, with ids from 1."""
    levels = [severity for count, severity in parts for _ in range(count)]
    return [FoldCandidate(number, severity) for number, severity in enumerate(levels, 1)]


@pytest.mark.parametrize(
    ("waiting", "errors", "over", "ids"),
    [
        (queue((50, INFO)), 0, 50, []),
        (queue((51, INFO)), 0, 50, range(1, 28)),
        (queue((40, INFO)), 11, 50, range(1, 28)),
        (queue((40, INFO)), 260, 50, range(1, 41)),
        (queue((300, SUCCESS)), 0, 50, range(1, 277)),
        (queue((10, WARNING), (60, INFO)), 0, 50, range(11, 57)),
        (queue((60, WARNING), (10, INFO)), 0, 50, [*range(1, 37), *range(61, 71)]),
        (queue((4, INFO)), 100, 50, []),
        (queue((5, INFO)), 100, 50, range(1, 6)),
        (queue((2, INFO)), 9, 2, [1, 2]),
        (queue((1, INFO)), 9, 2, []),
        ([], 1000, 50, []),
    ],
)
def test_the_oldest_that_matter_least(
    waiting: list[FoldCandidate], errors: int, over: int, ids: list[int] | range
) -> None:
    assert select_foldable(waiting, queued=len(waiting) + errors, over=over) == tuple(ids)


levels = st.sampled_from([INFO, SUCCESS, WARNING])


@given(st.lists(levels, max_size=120), st.integers(0, 120), st.integers(2, 60))
def test_the_choice_whatever_waits(severities: list[Severity], errors: int, over: int) -> None:
    waiting = [FoldCandidate(number, severity) for number, severity in enumerate(severities, 1)]
    queued = len(waiting) + errors
    ids = select_foldable(waiting, queued=queued, over=over)
    assert list(ids) == sorted(set(ids))
    if queued <= over:
        assert ids == ()
    if not ids:
        return
    remaining = [candidate for candidate in waiting if candidate.id not in ids]
    after = queued - len(ids) + 1
    # Down to half if there is enough to fold, never further; and the next check folds nothing.
    assert after == over // 2 or (after > over // 2 and not remaining)
    assert select_foldable(remaining, queued=after, over=over) == ()
    if any(candidate.id in ids and candidate.severity is WARNING for candidate in waiting):
        assert all(candidate.severity is WARNING for candidate in remaining)
    for group in ({INFO, SUCCESS}, {WARNING}):
        folded = [candidate.id for candidate in waiting if candidate.severity in group and candidate.id in ids]
        stays = [candidate.id for candidate in remaining if candidate.severity in group]
        assert not folded or not stays or max(folded) < min(stays)


def test_the_summary_counts_and_names() -> None:
    backlog = BacklogSummary(
        first_notification_id="ntf_1",
        types={"task_completed": 40, "task_started": 2},
        threads=25,
        names=["Nightly import", "x" * 500],
        oldest=NOW,
        newest=NOW + timedelta(hours=1),
    )
    digest = build_summary("slack.team", backlog, NOW + timedelta(hours=2))
    assert digest.title == "42 notifications in one"
    assert digest.body.startswith("40 × task_completed, 2 × task_started\nAbout Nightly import, xxx")
    assert "… and 23 more." in digest.body
    assert len(digest.body) < 300
    assert [tuple(field) for field in digest.fields] == [
        ("Oldest", "2026-01-01 00:00:00 UTC"),
        ("Newest", "2026-01-01 01:00:00 UTC"),
    ]
    assert (digest.severity, digest.thread, digest.event.type) == (
        INFO,
        "agent/slack.team",
        "backlog_folded",
    )
    assert build_summary("slack.team", backlog, NOW + timedelta(hours=2)).id == digest.id
    assert build_summary("slack.other", backlog, NOW + timedelta(hours=2)).id != digest.id


def test_rare_types_are_counted_together() -> None:
    counts = {f"type_{number}": 100 - number for number in range(MAX_TYPES + 3)}
    frequent = most_common(counts)
    assert len(frequent) == MAX_TYPES + 1
    assert sum(frequent.values()) == sum(counts.values())
    assert most_common({"a": 1}) == {"a": 1}
