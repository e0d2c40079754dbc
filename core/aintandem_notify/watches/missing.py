"""Runs that are expected: at the times of a cron expression, or so long after the last one."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.config.watch_config import WatchConfig
from aintandem_notify.watches.timers import Timer

EARLY: Final = timedelta(minutes=1)
"""A run may start this much before its time: two clocks are never equal."""

MAX_MISSED: Final = 1000
"""Expected times that are counted."""


def first_timer(
    config: WatchConfig, config_hash: str, *, project_id: str, project_name: str, about: str, now: datetime
) -> Timer:
    """The timer of a project that is watched from ``now`` on."""
    timer = Timer(
        watch=config.name,
        config=config_hash,
        project_id=project_id,
        project_name=project_name,
        kind=about,
        run_id="",
        attempt=0,
        since=now,
    )
    return _expect(config, timer, next_expected(config, now))


def next_expected(config: WatchConfig, after: datetime) -> datetime | None:
    """The next time at which a run is expected, if one started at ``after``; None if there is none."""
    if config.every is not None:
        return after + timedelta(seconds=config.every)
    return next(config.cron_times(after), None)


def _expect(config: WatchConfig, timer: Timer, expected_at: datetime | None) -> Timer:
    due_at = None if expected_at is None else expected_at + timedelta(seconds=config.grace_s)
    return replace(timer, expected_at=expected_at, due_at=due_at, fired_at=None, fired_key="")


def arrived(config: WatchConfig, timer: Timer, started_at: datetime) -> Timer:
    """The timer after the start of a run, which may be too old for the time at which one was expected."""
    last = started_at if timer.seen is None else max(timer.seen, started_at)
    timer = replace(timer, seen=last)
    expected = next_expected(config, started_at if config.every is not None else started_at + EARLY)
    if timer.expected_at is not None and (expected is None or expected <= timer.expected_at):
        return timer
    return _expect(config, timer, expected)


def missed(config: WatchConfig, expected_at: datetime, now: datetime) -> int:
    """The number of times, from ``expected_at`` on, at which an expected run has not come in time by now."""
    until = now - timedelta(seconds=config.grace_s)
    if config.every is not None:
        return 1 + max(0, int((until - expected_at).total_seconds() // config.every))
    count = 1
    for moment in config.cron_times(expected_at):
        if moment > until or count == MAX_MISSED:
            break
        count += 1
    return count
