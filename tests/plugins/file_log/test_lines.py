"""The line of file_log: one JSON object for any texts."""

import json
import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.api import Severity
from aintandem_notify.domain.events import AgentStartedEvent
from aintandem_notify_file_log.lines import json_line, record
from support.plugin_samples import NOON, failed_task


def test_record_holds_the_notification_its_run_and_the_event_as_it_came() -> None:
    assert record(failed_task()) == {
        "time": "2026-03-01T12:00:05.250Z",
        "id": "ntf_00000000000000000000000000000001",
        "rule": "failures",
        "severity": "error",
        "title": "Nightly import failed",
        "body": "no space left",
        "project": {"id": "project-123", "name": "Sales pipeline"},
        "run": {
            "id": "task-1",
            "name": "Nightly import",
            "kind": "task",
            "attempt": 2,
            "state": "failed",
            "duration": 42.0,
            "workflow_id": None,
            "step": None,
            "progress": None,
            "created_at": None,
            "started_at": "2026-03-01T11:59:23.250Z",
            "ended_at": "2026-03-01T12:00:05.250Z",
        },
        "event": {
            "type": "task_failed",
            "timestamp": "2026-03-01T12:00:05.250000+00:00",
            "projectId": "project-123",
            "taskId": "task-1",
            "error": "no space left",
            "extraField": {"kept": True},
        },
    }


def test_the_keys_stand_in_the_documented_order() -> None:
    assert list(json.loads(json_line(failed_task()))) == [
        "time",
        "id",
        "rule",
        "severity",
        "title",
        "body",
        "project",
        "run",
        "event",
    ]


def test_an_event_of_the_agent_has_neither_project_nor_run() -> None:
    line = record(failed_task(event=AgentStartedEvent(timestamp=NOON, version="1"), run=None, project=None))

    assert (line["project"], line["run"]) == (None, None)
    assert line["event"]["type"] == "agent_started"


def test_time_is_the_events_and_not_the_notifications() -> None:
    late = failed_task(created_at=NOON + timedelta(hours=3))

    assert record(late)["time"] == "2026-03-01T12:00:05.250Z"


@pytest.mark.parametrize("severity", Severity)
def test_severity_is_written_as_its_value(severity: Severity) -> None:
    assert json.loads(json_line(failed_task(severity=severity)))["severity"] == severity.value


@pytest.mark.parametrize(
    "character",
    ["\n", "\r", "\x00", "\x1b", "\x7f", "\x80", "\x9b", "\x9f", "\u2028", "\u2029", "\ud800"],
)
def test_a_character_that_could_end_the_line_or_steer_a_terminal_is_escaped(character: str) -> None:
    line = json_line(failed_task(title=f"a{character}b"))

    text = line.decode()
    assert character not in text[:-1]
    assert json.loads(text)["title"] == f"a{character}b"


@pytest.mark.parametrize("text", ["häßlich", "日本語", "🎉", "a\xa0b"])
def test_text_that_people_read_stays_as_it_is(text: str) -> None:
    assert text.encode() in json_line(failed_task(body=text))


@given(st.text(st.characters(codec=None)))
def test_any_text_makes_one_line_that_reads_back_to_the_same(text: str) -> None:
    line = json_line(failed_task(title=text, body=text))

    assert line.endswith(b"\n")
    inner = line[:-1].decode("utf-8")
    assert len(inner.splitlines()) == 1
    assert not any(unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"} for character in inner)
    assert json.loads(inner)["body"] == text
