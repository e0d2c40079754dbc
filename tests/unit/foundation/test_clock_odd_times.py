"""Any time that an orchestrator may send, in any time zone of the machine: shown, compared and stored."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aintandem_notify.cli.times import local, parse_time
from aintandem_notify.domain.events import Event, Family, event_time, parse_frame, restore_event
from aintandem_notify.domain.notification import Project, Severity
from aintandem_notify.domain.observation import Gap, Observation
from aintandem_notify.domain.reconciliation import reconcile
from aintandem_notify.domain.runs import Run, RunRef, RunState
from aintandem_notify.foundation.clock import iso_seconds, local_time
from aintandem_notify.live_view.model import DisplayLine, RunTracker, TaskBar
from aintandem_notify.live_view.render import plain_lines, render_bars, terminal_lines
from aintandem_notify.orchestrator.rest.records import TaskRecord
from aintandem_notify.rules import formats
from aintandem_notify_console.lines import plain_line
from aintandem_notify_console.terminal import Terminal, clock_time
from aintandem_notify_file_log.lines import json_line
from aintandem_notify_slack.message import plain_message, rich_message
from support.nasty import times
from support.plugin_samples import failed_task

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
PROJECT = Project(id="p", name="P")
MOMENTS = st.datetimes(timezones=st.just(UTC))
GAP = Gap(NOW - timedelta(hours=1), NOW, NOW - timedelta(days=1), 86_400.0)

any_moment = partial(
    settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50
)


@pytest.fixture(params=[*times.ZONES.values(), *times.ODD_ZONES.values()], ids=[*times.ZONES, *times.ODD_ZONES])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@example(FIRST)
@example(LAST)
@given(MOMENTS)
@any_moment()
def test_every_moment_has_a_local_time(zone: str, moment: datetime) -> None:
    shown = local_time(moment)
    assert shown == moment
    assert len(iso_seconds(shown)) == len("2026-03-01 12:00:05")
    assert local(moment, NOW)
    assert parse_time(iso_seconds(moment), NOW).tzinfo is not None


@example(FIRST)
@example(LAST)
@given(MOMENTS)
@any_moment()
def test_every_moment_is_shown(zone: str, moment: datetime) -> None:
    notification = failed_task().model_copy(update={"event": failed_task().event.model_copy()})
    notification = failed_task(event=notification.event.model_copy(update={"timestamp": moment}))
    line = DisplayLine(moment, PROJECT, Severity.ERROR, "failed", ("why",))

    assert notification.occurred_at == moment
    assert plain_line(notification, 5).startswith(f"{iso_seconds(moment, 'T')}Z\t")
    assert Terminal(colours=True, unicode=True).render(notification, width=80, limit=5, now=NOW)
    assert json.loads(json_line(notification))["time"].startswith(iso_seconds(moment, "T"))
    assert next(plain_lines(line)).startswith(f"{iso_seconds(moment, 'T')}Z p failed")
    assert list(terminal_lines(line, zone=None, with_project=True))
    assert render_bars(
        [TaskBar("x", PROJECT, 5.0, "", "", moment)], now=NOW, rows=9, columns=80, with_project=True
    )
    assert plain_message(notification)
    assert rich_message(notification)
    assert formats.as_text(moment) == f"{iso_seconds(moment)} UTC"


@pytest.mark.parametrize("value", times.TIMES.values(), ids=times.TIMES)
def test_an_event_is_reported_with_any_time(value: object) -> None:
    frame = {"type": "task_failed", "projectId": "p", "taskId": "t", "error": "boom", "timestamp": value}
    event = parse_frame(json.dumps(frame), "p", NOW)

    assert isinstance(event, Event)
    assert event.timestamp.tzinfo is UTC
    assert isinstance(restore_event(event.wire()), Event)
    assert [one.details for one in RunTracker().record_event(event, PROJECT)()] == [("boom",)]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60.999Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2017-01-01T08:59:60+09:00", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2026-02-28T24:00:00Z", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-02-28 24:00", datetime(2026, 3, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:60Z", NOW),
        ("9999-12-31T24:00:00Z", NOW),
        ("2026-02-30T23:59:60Z", NOW),
        ("2026-02-28T23:59:61Z", NOW),
    ],
)
def test_leap_seconds_and_ends_of_days_are_times(text: str, moment: datetime) -> None:
    assert event_time(text, NOW) == moment


OPTIONAL = st.none() | MOMENTS | st.sampled_from([FIRST, LAST, NOW])


@given(started=OPTIONAL, ended=OPTIONAL, created=OPTIONAL, run_ended=OPTIONAL, state=st.sampled_from(RunState))
def test_observations_with_any_times_can_be_reconciled(
    started: datetime | None,
    ended: datetime | None,
    created: datetime | None,
    run_ended: datetime | None,
    state: RunState,
) -> None:
    ref = RunRef("p", Family.TASK, "t")
    seen = Observation(ref, state, created_at=created, started_at=started, ended_at=ended, error="boom")
    for before in (None, *(Run(*ref, state=known, started_at=started, ended_at=run_ended) for known in RunState)):
        found = reconcile(before, seen, GAP, NOW)
        assert all(event.timestamp.tzinfo is UTC for event in found.events)
        assert found.run is None or found.run.duration is None or found.run.duration >= 0


def test_the_time_that_go_writes_for_none_is_none() -> None:
    record = TaskRecord.model_validate({"id": "t", "status": "running", "completedAt": "0001-01-01T00:00:00Z"})
    assert record.completed_at is None


def test_nothing_took_two_thousand_years() -> None:
    run = Run("p", Family.TASK, "t", started_at=FIRST, ended_at=NOW)
    assert run.duration is None


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (FIRST, "1 Jan 0001 00:00"),
        (LAST, "31 Dec 9999 23:59"),
        (NOW - timedelta(days=400), "25 Jan 2025 12:00"),
        (NOW - timedelta(days=30), "30 Jan 12:00"),
    ],
)
def test_a_time_far_off_says_its_year(moment: datetime, shown: str) -> None:
    assert clock_time(moment, NOW, UTC) == shown


@pytest.mark.parametrize("offset", [timedelta(hours=23, minutes=59), -timedelta(hours=23, minutes=59)])
def test_no_zone_is_too_far_off(offset: timedelta) -> None:
    for moment in (FIRST, LAST):
        assert clock_time(moment, NOW, timezone(offset))


@pytest.mark.parametrize("name", ["XXX+24:59:59", "Pacific/Kiritimati", "\udcff"])
def test_a_log_line_is_written_in_any_zone(name: str) -> None:
    code = "from aintandem_notify import log; log.configure('info', 'text'); log.get_logger('x').info('heard')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TZ": name},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "heard" in done.stderr


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "artifact", "artifact": {"path": "x", "type": "y", "size": 10**400}},
        {"type": "artifact", "artifact": {"path": "x", "type": "y", "size": -5}},
        {"type": "step_progress", "step": "s", "status": "running", "progress": 1e308},
        {"type": "step_progress", "step": "s", "status": "running", "progress": -1e308},
        {"type": "task_completed", "duration": 1e308, "output": 1e308},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_numbers_beyond_all_sense_are_shown_in_a_line(fields: dict[str, object]) -> None:
    event = parse_frame(json.dumps({"taskId": "t", "projectId": "p", **fields}), "p", NOW)
    assert isinstance(event, Event)
    (line,) = RunTracker().record_event(event, PROJECT)()
    assert len(line.text) < 100
