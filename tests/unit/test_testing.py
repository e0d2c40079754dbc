"""The test helpers for plugin authors are realistic, and cost an unrelated test run nothing."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic.alias_generators import to_camel

from aintandem_notify.domain.events import EVENT_TYPES, UnknownEvent, field_names, restore_event
from aintandem_notify.domain.notification import Notification, Severity
from aintandem_notify.domain.runs import TERMINAL_TYPES, about_ref
from aintandem_notify.testing import (
    SAMPLE_DURATION,
    SAMPLE_FIELDS,
    MakeEvent,
    MakeNotification,
    sample_event,
    sample_notification,
)


def test_there_is_a_sample_of_every_type() -> None:
    assert set(SAMPLE_FIELDS) == set(EVENT_TYPES)


OF_SOME_WATCHES = {"late_by", "no_progress", "usual", "about", "attempt", "begun_by", "reminder"}
"""Fields of events of watches that are not sent if they say nothing."""


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_sample_has_every_field_of_its_type(event_type: str) -> None:
    event = sample_event(event_type)
    assert type(event) is EVENT_TYPES[event_type]
    assert not event.model_extra
    left_out = {"caught_up", "project_id", "reason", "output", *OF_SOME_WATCHES}
    sent = {name for name in field_names(type(event)) if to_camel(name) in event.wire()}
    assert field_names(type(event)) - sent <= left_out
    assert restore_event(event.wire()) == event


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_sample_notification_survives_json(event_type: str) -> None:
    notification = sample_notification(event_type)
    assert Notification.model_validate_json(notification.model_dump_json()) == notification
    assert notification.title
    assert (notification.run is None) == (about_ref(notification.event) is None)
    if event_type in TERMINAL_TYPES:
        assert notification.run is not None
        assert notification.run.duration == SAMPLE_DURATION


def test_fields_are_named_as_in_python_or_on_the_wire(make_event: MakeEvent) -> None:
    python, wire = make_event("task_failed", task_id="t9"), make_event("task_failed", taskId="t9")
    assert python == wire
    assert python.key == wire.key != make_event("task_failed").key
    assert "error" not in make_event("task_failed", error=None).wire()


def test_times_may_be_datetimes_of_any_zone(make_event: MakeEvent) -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    event = make_event(timestamp=moment)
    assert event.timestamp == moment
    assert event.wire()["timestamp"] == "2026-03-01T10:00:00Z"
    assert make_event(timestamp="2026-03-01T10:00:00Z").timestamp == datetime(2026, 3, 1, 10, tzinfo=UTC)


def test_an_unknown_type_is_an_unknown_event(make_event: MakeEvent) -> None:
    event = make_event("tea_ready", cups=2)
    assert isinstance(event, UnknownEvent)
    assert event.wire()["cups"] == 2


def test_changes_go_to_the_notification_or_to_its_event(make_notification: MakeNotification) -> None:
    notification = make_notification(
        "task_failed", error="disk full", severity=Severity.CRITICAL, previous={"ts": "1"}
    )
    assert (notification.body, notification.severity, notification.previous) == (
        "disk full",
        Severity.CRITICAL,
        {"ts": "1"},
    )
    assert notification.id == make_notification("task_failed", error="disk full").id
    assert notification.id != make_notification("task_failed", error="disk full", rule="other").id
    custom = make_notification(sample_event("sandbox_error"), title="Mine")
    assert (custom.title, custom.event.type) == ("Mine", "sandbox_error")
    with pytest.raises(TypeError, match="error"):
        make_notification(sample_event("sandbox_error"), error="x")


def test_the_pytest_plugin_imports_nothing_of_weight() -> None:
    code = "import sys, aintandem_notify.testing, aintandem_notify.simulator; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "aintandem_notify.testing" in loaded
    assert not loaded & {
        "trio",
        "pydantic",
        "structlog",
        "starlette",
        "hypercorn",
        "aintandem_notify.domain.events",
    }
