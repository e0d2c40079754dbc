"""The notification that stands for several, as people read it."""

from datetime import timedelta
from typing import Any

import pytest

from aintandem_notify.domain.notification import Notification, Severity
from aintandem_notify.stages.pipeline import Stage
from aintandem_notify.stages.summaries import MAX_TITLES, HeldSummary, summary_notification
from support.outbox import NOW

FAILED = 'Task "{}" failed'


def summary(titles: list[str], places: list[str] | None = None, **more: Any) -> Notification:
    """The summary of notifications with these titles; ``places`` are the names of their projects."""
    names = places or ["Sales"] * len(titles)
    contents: dict[str, Any] = {
        "first_id": 1,
        "types": {"task_failed": len(titles)},
        "severities": frozenset({Severity.ERROR}),
        "rules": ["failures"],
        "projects": {name.lower(): name for name in dict.fromkeys(names)},
        "oldest": NOW - timedelta(hours=1),
        "newest": NOW,
        "titles": titles[:200],
        "title_projects": names[:200],
        "failed_runs": len(titles),
        "open_runs": len(titles),
        "group_value": "",
    }
    return summary_notification(HeldSummary(**contents | more), "slack.team", Stage.QUIET, "night", NOW)


def numbered(count: int) -> list[str]:
    return [FAILED.format(number) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("count", "last"),
    [(2, '• Task "2" failed'), (15, '• Task "15" failed'), (16, "… and 1 more"), (500, "… and 485 more")],
)
def test_a_long_list_is_cut_and_says_how_many_are_missing(count: int, last: str) -> None:
    first, *lines = summary(numbered(count)).body.split("\n")
    assert first.endswith("failed runs has succeeded since.")
    assert lines[-1] == last
    assert len(lines) == min(count, MAX_TITLES + 1)


def test_equal_titles_are_one_line() -> None:
    told = summary([FAILED.format("load")] * 500)
    assert told.title == "During quiet hours night: 500 tasks failed in Sales"
    assert told.body.split("\n") == [
        "None of the 500 failed runs has succeeded since.",
        '• Task "load" failed (200 times)',
        "… and 300 more",
    ]


def test_with_several_projects_each_line_has_its_own() -> None:
    told = summary([FAILED.format("load"), FAILED.format("load"), "Dev: build failed"], ["Sales", "Dev", "Dev"])
    assert told.title == "During quiet hours night: 3 tasks failed in 2 projects"
    assert told.body.split("\n")[1:] == [
        '• Task "load" failed · Sales',
        '• Task "load" failed · Dev',
        "• Dev: build failed",
    ]


@pytest.mark.parametrize(
    ("types", "counts"),
    [
        ({"task_completed": 30, "task_failed": 1}, "1 task failed, 30 tasks completed"),
        (
            {"task_cancelled": 2, "sandbox_error": 1, "task_failed": 1},
            "1 sandbox with an error, 1 task failed, 2 tasks cancelled",
        ),
        (
            {"task_completed": 9, "task_failed": 3, "workflow_execution_failed": 2, "task_started": 1},
            "3 tasks failed, 2 workflows failed, 10 others",
        ),
        (
            {"task_failed": 3, "workflow_execution_failed": 2, "sandbox_error": 1},
            "3 tasks failed, 2 workflows failed, 1 sandbox with an error",
        ),
        ({"gpu_warmed": 2}, "2 × gpu warmed"),
    ],
)
def test_failures_come_first_in_the_title(types: dict[str, int], counts: str) -> None:
    told = summary(numbered(2), types=types)
    assert told.title == f"During quiet hours night: {counts} in Sales"


@pytest.mark.parametrize(
    ("failed", "still_open", "sentence"),
    [
        (0, 0, '• Task "1" failed'),
        (1, 1, "The failed run has not succeeded since."),
        (1, 0, "The failed run has succeeded since."),
        (2, 2, "Neither of the 2 failed runs has succeeded since."),
        (2, 1, "1 of 2 failed runs has not succeeded since."),
        (2, 0, "Both failed runs have succeeded since."),
        (5, 5, "None of the 5 failed runs has succeeded since."),
        (5, 2, "2 of 5 failed runs have not succeeded since."),
        (5, 0, "All 5 failed runs have succeeded since."),
    ],
)
def test_the_first_line_says_what_is_still_open(failed: int, still_open: int, sentence: str) -> None:
    told = summary(numbered(5), failed_runs=failed, open_runs=still_open)
    assert told.body.split("\n")[0] == sentence
