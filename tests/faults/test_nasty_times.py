"""An end is reported once, for any time in an event or a record, any time zone and any clock."""

from pathlib import Path
from typing import Any

import pytest

from support.nasty import times
from support.nasty_case import open_nasty_case
from support.shifted_clock import shifted_clock


def live(prefix: str) -> list[dict[str, Any]]:
    """A failure for each time, as its ``timestamp``."""
    return [
        {"type": "task_failed", "taskId": f"{prefix}-{number}", "error": name, "timestamp": moment}
        for number, (name, moment) in enumerate(times.TIMES.items())
    ]


def rows(prefix: str) -> list[dict[str, Any]]:
    """A failed task for each time, in all time fields of its REST record."""
    return [
        {
            "id": f"{prefix}-{number}",
            "status": "failed",
            "error": name,
            "createdAt": moment,
            "startedAt": moment,
            "completedAt": moment,
        }
        for number, (name, moment) in enumerate(times.TIMES.items())
    ]


@pytest.mark.parametrize("zone", [times.ZONES[name] for name in ("far west", "far east", "with summer time")])
async def test_every_time_is_reported_once_in_any_time_zone(tmp_path: Path, zone: str) -> None:
    async with open_nasty_case(tmp_path) as case:
        async with case.agent(environ={"TZ": zone}):
            await case.live(live("t"))
            # The orchestrator dates the ends: those before the gap are not reported.
            await case.catch_up(tasks=rows("r"), due=False)
            await case.live([{"type": "task_failed", "taskId": "after", "error": "still here"}])
        arrivals = case.arrivals()["webhook.ops"]
        case.due += [arrival for arrival in arrivals if arrival[1].startswith("r-")]
        case.check()


async def test_every_time_is_reported_once_with_any_clock_of_the_agent(tmp_path: Path) -> None:
    clock = shifted_clock(tmp_path)
    async with open_nasty_case(tmp_path) as case:
        # The receiver's clock is right, so it would reject a signature of another day.
        case.case.webhook.secret = None
        async with case.agent(environ=clock.environ):
            for number, shift in enumerate(times.CLOCKS_S.values()):
                clock.set(shift)
                await case.live(live(f"c{number}"))
            clock.set(0)
            await case.live([{"type": "task_failed", "taskId": "after", "error": "still here"}])
        case.check()
