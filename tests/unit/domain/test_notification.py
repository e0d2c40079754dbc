import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from aintandem_notify.domain.events import Event, Family, TaskFailedEvent, parse_frame
from aintandem_notify.domain.notification import Field, Notification, Project, Severity
from aintandem_notify.domain.runs import Run, RunState

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
FRAME = (
    '{"type": "task_failed", "timestamp": 1777856400250, "projectId": "p", "taskId": "t1", '
    '"error": "no such table", "costUSD": 1.5}'
)


def failure() -> Event:
    event = parse_frame(FRAME, "p", NOW)
    assert isinstance(event, TaskFailedEvent)
    return event


def notification() -> Notification:
    return Notification(
        id="ntf_1",
        thread="p/task/t1/2",
        severity=Severity.ERROR,
        title="data-analysis failed",
        body="no such table",
        fields=(Field("Project", "Sales pipeline"), Field("Duration", "1 min")),
        url="https://console.example/projects/p",
        mentions=("here", "U123"),
        event=failure(),
        run=Run("p", Family.TASK, "t1", attempt=2, state=RunState.FAILED, started_at=NOW, ended_at=NOW),
        project=Project(id="p", name="Sales pipeline"),
        rule="failures",
        created_at=NOW,
        previous={"ts": "17.5", "channel": "C1"},
    )


def test_it_is_kept_as_json_and_comes_back_the_same() -> None:
    sent = notification()
    back = Notification.model_validate_json(sent.model_dump_json())

    assert back == sent
    assert isinstance(back.event, TaskFailedEvent)
    assert back.fields[1].name == "Duration"
    assert back.run is not None
    assert back.run.state is RunState.FAILED


def test_its_event_stands_in_it_as_it_came_over_the_wire() -> None:
    assert json.loads(notification().model_dump_json())["event"] == json.loads(FRAME)
    assert notification().model_dump()["event"] == json.loads(FRAME)


def test_it_happened_when_the_event_did_not_when_it_was_made() -> None:
    assert notification().occurred_at == datetime(2026, 5, 4, 1, 0, 0, 250_000, tzinfo=UTC)


def test_missing_fields_are_none_or_empty() -> None:
    bare = Notification(
        id="ntf_1", thread="agent", severity=Severity.INFO, title="x", event=failure(), rule="r", created_at=NOW
    )

    assert (bare.run, bare.project, bare.url, bare.previous) == (None, None, None, None)
    assert (bare.body, bare.fields, bare.mentions) == ("", (), ())
    assert Notification.model_validate_json(bare.model_dump_json()) == bare


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        notification().title = "other"  # type: ignore[misc]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError):
        Notification.model_validate(notification().model_dump() | {"created_at": datetime(2026, 5, 4)})  # noqa: DTZ001


@pytest.mark.parametrize("event", [None, {}, {"timestamp": 1}, 17, "task_failed", [1]])
def test_a_value_that_is_no_event_is_rejected(event: object) -> None:
    with pytest.raises(ValidationError):
        Notification.model_validate(notification().model_dump() | {"event": event})


def test_severities_have_an_order() -> None:
    ranks = [Severity(name).rank for name in ("info", "success", "warning", "error", "critical")]

    assert ranks == [0, 1, 2, 3, 4]
