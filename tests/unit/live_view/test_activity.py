"""The sentence about the watching that ``tail`` shows, and the times at which it is reported."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
import trio

from aintandem_notify.domain.notification import Project
from aintandem_notify.live_view.activity import Activity
from aintandem_notify.live_view.reports import FIRST_REPORT_TIMEOUT_S, Reports

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def activity(*ids: str, connected: Callable[[str], bool] = lambda _project_id: True) -> Activity:
    projects = {each: Project(id=each, name=each.upper()) for each in ids}
    return Activity(NOON, connected, projects=projects)


@pytest.mark.parametrize(
    ("ids", "connected", "running", "expected"),
    [
        (("a",), "a", 0, "Watching A: connected, no active runs"),
        (("a",), "", 1, "Watching A: not connected, 1 active run"),
        (("a", "b", "c"), "abc", 2, "Watching A, B, C: all connected, 2 active runs"),
        (("a", "b", "c", "d"), "ad", 2000, "Watching 4 projects: 2 of 4 connected, 2000 active runs"),
        ((), "", 0, "Watching no project yet: logged in, no active runs"),
    ],
)
def test_projects_connections_and_runs(ids: tuple[str, ...], connected: str, running: int, expected: str) -> None:
    sentence = activity(*ids, connected=connected.__contains__).sentence(NOON, running, UTC)
    assert sentence == f"{expected}, no event yet"


def test_a_task_and_its_project() -> None:
    watched = activity("a")
    watched.task_id = "task-1\n" + "x" * 600
    sentence = watched.sentence(NOON, 1, UTC)
    assert sentence.startswith("Watching task task-1 xxx")
    assert sentence.endswith("… of A: connected, 1 active run, no event yet")


@pytest.mark.parametrize(
    ("last_event_s", "now_s", "expected"),
    [
        (None, 9, "no event yet"),
        (None, 10, "quiet since 13:00:00 (10 s)"),
        (5, 14, "last event 13:00:05"),
        (5, 15, "quiet since 13:00:05 (10 s)"),
        (5, 195, "quiet since 13:00:05 (3 min)"),
        (5, 20_000, "quiet since 13:00:05 (5 h 33 min)"),
        (50, 0, "last event 13:00:50"),
    ],
)
def test_since_when_it_is_quiet(last_event_s: float | None, now_s: float, expected: str) -> None:
    watched = activity("a")
    watched.last_event_at = None if last_event_s is None else NOON + timedelta(seconds=last_event_s)
    sentence = watched.sentence(NOON + timedelta(seconds=now_s), 0, timezone(timedelta(hours=1)))
    assert sentence == f"Watching A: connected, no active runs, {expected}"


class Recorded:
    """The times of the reports, in seconds after the start."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._start = trio.current_time()

    async def report(self) -> None:
        self.times.append(round(trio.current_time() - self._start, 3))


async def test_the_first_report_waits_for_the_connections_and_the_others_for_quiet(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recorded = Recorded()
    reports = Reports(recorded.report, ["a", "b"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reports.keep_reporting)
        await trio.sleep(1)
        await reports.mark_ready("a")
        assert recorded.times == []
        await reports.mark_ready("b")
        assert recorded.times == [1]
        await trio.sleep(4 * 3600)
        assert recorded.times == [1, 60, 600, 3600, 7200, 10_800, 14_400]
        for _ in range(3):
            reports.note_event()
            await trio.sleep(30)
        await trio.sleep(60)
        assert recorded.times[7:] == [4 * 3600 + 1 + 60 + 60]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("projects", [["a"], []])
async def test_a_connection_that_does_not_come_about_holds_no_report_up(
    projects: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    recorded = Recorded()
    reports = Reports(recorded.report, projects)
    with trio.move_on_after(30):
        await reports.keep_reporting()
    await reports.mark_ready("a")
    assert recorded.times == [FIRST_REPORT_TIMEOUT_S if projects else 0]
