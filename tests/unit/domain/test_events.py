"""Every type of event, from its frame in the guide to its wire form and back."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from aintandem_notify.domain import events
from aintandem_notify.domain.events import (
    EVENT_TYPES,
    WIRE_FAMILIES,
    AgentStartedEvent,
    ConnectionDisconnectedEvent,
    Event,
    Family,
    PluginFailedEvent,
    TaskArtifactEvent,
    TaskStepProgressEvent,
    UnknownEvent,
    parse_frame,
    restore_event,
)
from support.event_frames import BY_TYPE, FRAMES, HEAD, SANDBOX, TASK

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
THEN = datetime(2026, 5, 4, 1, 0, 0, 250_000, tzinfo=UTC)
RUN_IDS = {Family.TASK: "task-1", Family.WORKFLOW: "exec-1", Family.SANDBOX: "box-1"}

OWN_EVENTS: list[Event] = [
    events.ConnectionConnectedEvent(timestamp=NOW, project_id="p"),
    events.ConnectionDisconnectedEvent(
        timestamp=NOW, project_id="p", code=1012, reason="restart", will_reconnect=False
    ),
    events.ConnectionErrorEvent(timestamp=NOW, project_id="p", error="refused", will_reconnect=False),
    events.AgentStartedEvent(timestamp=NOW, version="1.0", projects=2, plugins=3),
    events.AgentStoppedEvent(timestamp=NOW, reason="SIGTERM"),
    events.AgentDegradedEvent(
        timestamp=NOW, reason="p has no link", kind="link", subjects=("p",), failing=True, excluded=("slack.team",)
    ),
    events.AgentRecoveredEvent(
        timestamp=NOW,
        reason="p has no link",
        kind="link",
        subjects=("p",),
        seconds=9.5,
        begun_by="ab12",
        recipients=("slack.team",),
    ),
    events.LoginFailedEvent(timestamp=NOW, reason="wrong password"),
    events.PluginFailedEvent(timestamp=NOW, instance="slack.team", reason="no module"),
    events.DestinationParkedEvent(timestamp=NOW, instance="slack.team", reason="revoked"),
    events.DestinationRecoveredEvent(timestamp=NOW, instance="slack.team"),
    events.StoreDegradedEvent(timestamp=NOW, reason="the disk is full"),
    events.SilenceEndingEvent(timestamp=NOW, silence="3f9a", count=2, matchers={"task": "x"}, recipients=("a.b",)),
    events.DigestEvent(timestamp=NOW, instance="slack.team", held_by="group", count=2, types={"task_failed": 2}),
    events.BacklogFoldedEvent(
        timestamp=NOW,
        instance="slack.team",
        count=12,
        runs=3,
        types={"task_completed": 10, "task_started": 2},
        names=("data-analysis", "nightly-report"),
        oldest=NOW,
        newest=NOW,
    ),
    events.FeedGapEvent(
        timestamp=NOW, project_id="p", blind_from=NOW, blind_until=NOW, seconds=9.5, changed=1, incomplete=True
    ),
    events.RunStalledEvent(timestamp=NOW, project_id="p", watch="hung", kind="task", about="t", seconds=900.0),
    events.RunOverdueEvent(timestamp=NOW, project_id="p", watch="slow", kind="workflow", about="x", late_by=90.0),
    events.RunWaitingEvent(timestamp=NOW, project_id="p", watch="queue", kind="task", about="t", state="queued"),
    events.RunMissingEvent(timestamp=NOW, project_id="p", watch="nightly", pattern="nightly-*", expected_at=NOW),
    events.RunTooFastEvent(timestamp=NOW, project_id="p", watch="empty", kind="task", about="t", attempt=2),
    events.RunMovingEvent(timestamp=NOW, project_id="p", watch="hung", kind="task", about="t", begun_by="k"),
    events.RunArrivedEvent(timestamp=NOW, project_id="p", watch="nightly", kind="task", about="t", seconds=60.0),
]


def event_of(frame: dict[str, Any]) -> Event:
    event = parse_frame(json.dumps(frame), "project-123", NOW)
    assert isinstance(event, Event), event
    return event


def names(cases: list[Any]) -> list[str]:
    return [case.type if isinstance(case, Event) else case[0]["type"] for case in cases]


@pytest.mark.parametrize(("frame", "model", "fields"), FRAMES, ids=names(FRAMES))
def test_a_frame_of_the_guide_becomes_its_event(
    frame: dict[str, Any], model: type[Event], fields: dict[str, Any]
) -> None:
    event = event_of(frame)

    assert type(event) is model
    assert event.type == frame["type"]
    assert event.project_id == "project-123"
    assert event.timestamp == THEN
    assert event.timestamp.tzinfo is UTC
    assert event.caught_up is False
    assert event.run_id == RUN_IDS[event.family]
    assert {name: getattr(event, name) for name in fields} == fields
    assert event.model_extra == {}


@pytest.mark.parametrize(("frame", "model", "fields"), FRAMES, ids=names(FRAMES))
def test_an_event_goes_out_as_it_came_in_and_comes_back(
    frame: dict[str, Any], model: type[Event], fields: dict[str, Any]
) -> None:
    event = event_of(frame)
    back = restore_event(json.loads(json.dumps(event.wire())))

    assert event.wire() == frame
    assert back == event
    assert back.key == event.key
    assert back.wire() == frame


@pytest.mark.parametrize(("frame", "model", "fields"), FRAMES, ids=names(FRAMES))
def test_only_the_identity_of_an_event_is_required(
    frame: dict[str, Any], model: type[Event], fields: dict[str, Any]
) -> None:
    bare: dict[str, Any] = {
        name: frame[name]
        for name in ("type", "taskId", "executionId", "workflowId", "sandboxId", "phaseId", "artifact")
        if name in frame
    }
    event = event_of(bare)

    assert type(event) is model
    assert event.project_id == "project-123"
    assert event.timestamp == NOW
    assert restore_event(event.wire()) == event


@pytest.mark.parametrize(("frame", "model", "fields"), FRAMES, ids=names(FRAMES))
def test_unknown_fields_are_kept_under_the_names_they_came_with(
    frame: dict[str, Any], model: type[Event], fields: dict[str, Any]
) -> None:
    # Some of them are names of our own attributes, which must not be shadowed.
    more = {"costUSD": 1.5, "userId": None, "key": "k", "wire": [1], "family": "agent", "run_id": 3, "_wire": 0}
    event = event_of(frame | more)

    assert event.model_extra == more
    assert event.wire() == frame | more
    assert event.family is model.family
    assert event.run_id == RUN_IDS[model.family]
    assert len(event.key) == 32
    assert restore_event(event.wire()) == event


@pytest.mark.parametrize("event", OWN_EVENTS, ids=names(OWN_EVENTS))
def test_our_own_events_go_out_in_camel_case_and_come_back(event: Event) -> None:
    wire = event.wire()
    back = restore_event(json.loads(json.dumps(wire)))

    assert wire["type"] == event.type
    assert not any("_" in name for name in wire)
    assert type(back) is type(event)
    assert back == event
    assert back.key == event.key
    assert back.run_id is None


def test_our_own_events_name_their_fields_as_the_wire_would() -> None:
    event = ConnectionDisconnectedEvent(
        timestamp=NOW, project_id="p", code=1012, reason="restart", will_reconnect=False
    )

    assert event.wire() == {
        "type": "connection_disconnected",
        "timestamp": "2026-05-04T03:02:01Z",
        "projectId": "p",
        "code": 1012,
        "reason": "restart",
        "willReconnect": False,
    }


def test_the_table_knows_every_type_once() -> None:
    tested = {frame["type"]: model for frame, model, _ in FRAMES} | {e.type: type(e) for e in OWN_EVENTS}
    families = [model.family for model in EVENT_TYPES.values()]

    assert tested == EVENT_TYPES
    assert {family: families.count(family) for family in Family} == {
        Family.TASK: 8,
        Family.WORKFLOW: 8,
        Family.SANDBOX: 4,
        Family.CONNECTION: 3,
        Family.AGENT: 13,
        Family.WATCH: 7,
        Family.UNKNOWN: 0,
    }
    for name, model in EVENT_TYPES.items():
        assert model.type == name


def test_an_unknown_type_is_an_event_with_all_its_fields() -> None:
    frame = HEAD | {"type": "task_paused", "taskId": "task-1", "by": {"user": "Zoë"}}
    event = event_of(frame)

    assert type(event) is UnknownEvent
    assert event.family is Family.UNKNOWN
    assert event.family not in WIRE_FAMILIES
    assert event.run_id is None
    assert event.timestamp == THEN
    assert event.model_extra == {"taskId": "task-1", "by": {"user": "Zoë"}}
    assert event.wire() == frame
    assert restore_event(event.wire()) == event


@pytest.mark.parametrize("kind", ["sandbox_created", "sandbox_started", "sandbox_stopped", "sandbox_error"])
def test_a_sandbox_may_be_called_a_container(kind: str) -> None:
    frame = HEAD | {"type": kind, "containerId": "box-9"}
    event = event_of(frame)

    assert event.run_id == "box-9"
    assert event.wire() == frame
    assert restore_event(event.wire()) == event


def test_the_sandbox_id_comes_before_the_container_id() -> None:
    event = event_of(HEAD | {"type": "sandbox_started", "containerId": "c", "sandboxId": "s"})

    assert event.run_id == "s"


@pytest.mark.parametrize(
    "status", ["pending", "running", "in-progress", "completed", "failed", "skipped", "on-holiday", ""]
)
def test_a_step_keeps_the_status_it_came_with(status: str) -> None:
    event = event_of(TASK | {"type": "step_progress", "status": status})

    assert isinstance(event, TaskStepProgressEvent)
    assert event.status == status


@pytest.mark.parametrize(
    ("sent", "understood"),
    [
        ("2026-05-04T01:00:00.250Z", THEN),
        ("2026-05-04T01:00:00.25+00:00", THEN),
        ("2026-05-04T03:00:00.250+02:00", THEN),
        ("2026-05-04 01:00:00.250", THEN),
        ("2026-05-04T01:00:00.250123456Z", THEN + timedelta(microseconds=123)),
        ("2026-05-04", datetime(2026, 5, 4, tzinfo=UTC)),
        (1_777_856_400, datetime(2026, 5, 4, 1, tzinfo=UTC)),
        (1_777_856_400.25, THEN),
        (1_777_856_400_250, THEN),
        ("1777856400", datetime(2026, 5, 4, 1, tzinfo=UTC)),
        ("1777856400250", THEN),
        ("1710102512000", datetime(2024, 3, 10, 20, 28, 32, tzinfo=UTC)),
        ("yesterday", NOW),
        ("2026-13-45T99:00:00Z", NOW),
        ("", NOW),
        (None, NOW),
        (True, NOW),
        ([2026, 5, 4], NOW),
        ({"seconds": 1}, NOW),
        (1e300, NOW),
        (-1e300, NOW),
        (10**400, NOW),
        ("9999-12-31T23:59:59-23:59", NOW),
        ("0001-01-01T00:00:00+23:59", NOW),
    ],
)
def test_a_timestamp_is_parsed_in_any_form(sent: object, understood: datetime) -> None:
    event = event_of(TASK | {"type": "task_started", "timestamp": sent})

    assert event.timestamp == understood
    assert event.timestamp.tzinfo is UTC
    # A stored event must restore with the same time, although its time of receipt is not stored.
    assert restore_event(event.wire()).timestamp == understood


def test_a_readable_timestamp_goes_out_as_it_came() -> None:
    event = event_of(TASK | {"type": "task_started", "timestamp": 1_777_856_400_250})

    assert event.wire()["timestamp"] == 1_777_856_400_250


@pytest.mark.parametrize(
    ("field", "sent", "understood"),
    [
        ("message", 5, "5"),
        ("message", {"a": ["é"]}, '{"a": ["é"]}'),
        ("message", True, "true"),
        ("message", None, None),
        ("progress", "42.5", 42.5),
        ("progress", "half", None),
        ("progress", [1], None),
        ("progress", 10**400, None),
        ("progress", "nan", None),
        ("progress", "inf", None),
    ],
)
def test_an_optional_field_in_a_wrong_form_costs_nothing_but_itself(
    field: str, sent: object, understood: object
) -> None:
    frame = TASK | {"type": "step_progress", field: sent}
    event = event_of(frame)

    assert getattr(event, field) == understood
    assert event.wire() == frame


@pytest.mark.parametrize(
    ("frame", "field", "understood"),
    [
        (TASK | {"type": "output", "output": {"line": 1}}, "output", '{"line": 1}'),
        (TASK | {"type": "output", "output": None}, "output", "null"),
        (TASK | {"type": "task_queued", "input": "sales"}, "input", None),
        (TASK | {"type": "task_failed", "error": {"code": 7}}, "error", '{"code": 7}'),
        (TASK | {"type": "task_completed", "duration": "61.5"}, "duration", 61.5),
        (TASK | {"type": "task_completed", "duration": "long"}, "duration", None),
        (SANDBOX | {"type": "sandbox_stopped", "exitCode": "137"}, "exit_code", 137),
        (SANDBOX | {"type": "sandbox_stopped", "exitCode": 1.5}, "exit_code", 1),
        (SANDBOX | {"type": "sandbox_stopped", "exitCode": "SIGKILL"}, "exit_code", None),
        (TASK | {"type": "task_started", "caughtUp": True}, "caught_up", True),
        (TASK | {"type": "task_started", "caughtUp": "perhaps"}, "caught_up", False),
        (HEAD | {"type": "task_started", "taskId": 17}, "task_id", "17"),
    ],
)
def test_every_kind_of_field_is_tolerant(frame: dict[str, Any], field: str, understood: object) -> None:
    event = event_of(frame)

    assert getattr(event, field) == understood
    assert event.wire() == frame


@pytest.mark.parametrize(("size", "understood"), [(None, None), ("12", 12), ("big", None), (12.0, 12)])
def test_an_artifact_is_tolerant_too(size: object, understood: int | None) -> None:
    event = event_of(TASK | {"type": "artifact", "artifact": {"path": 7, "size": size, "mime": "text/csv"}})

    assert isinstance(event, TaskArtifactEvent)
    assert event.artifact.path == "7"
    assert event.artifact.type == ""
    assert event.artifact.size == understood
    assert event.artifact.model_extra == {"mime": "text/csv"}


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        event_of(BY_TYPE["task_failed"]).project_id = "other"  # type: ignore[misc]


def test_the_key_does_not_care_for_order_and_spacing_but_for_every_value() -> None:
    frame = BY_TYPE["step_progress"]
    event = event_of(frame)
    turned = json.dumps(dict(reversed(list(frame.items()))), indent=3)
    again = parse_frame(turned, "project-123", NOW + timedelta(hours=1))

    assert isinstance(again, Event)
    assert again.key == event.key
    assert len(event.key) == 32
    int(event.key, 16)
    for name in frame.keys() - {"type", "projectId"}:
        other = event_of(frame | {name: "2026-05-04T01:00:00.251Z" if name == "timestamp" else "another"})
        assert other.key != event.key, name


def test_equal_content_is_an_equal_event() -> None:
    assert event_of(BY_TYPE["task_failed"]) == event_of(BY_TYPE["task_failed"])
    assert event_of(BY_TYPE["task_failed"]) != event_of(BY_TYPE["task_failed"] | {"taskId": "task-2"})


def test_texts_of_our_own_events_can_always_be_encoded() -> None:
    # File names that are not UTF-8 arrive in this form.
    event = PluginFailedEvent(timestamp=NOW, instance="slack.team", reason="no file caf\udce9.py")

    assert event.reason == "no file caf\N{REPLACEMENT CHARACTER}.py"
    json.dumps(event.wire(), ensure_ascii=False).encode()
    assert len(event.key) == 32


def test_an_event_of_another_version_is_restored_as_unknown() -> None:
    wire = {"type": "task_failed", "timestamp": "2026-05-04T01:00:00.250Z", "projectId": "p", "jobId": "1"}
    event = restore_event(wire)

    assert type(event) is UnknownEvent
    assert event.type == "task_failed"
    assert event.timestamp == THEN
    assert event.wire() == wire


def test_a_value_that_never_was_an_event_is_rejected() -> None:
    with pytest.raises(ValidationError):
        restore_event({"timestamp": "2026-05-04T01:00:00.250Z"})


def test_agent_events_are_about_no_project() -> None:
    event = AgentStartedEvent(timestamp=NOW)

    assert event.project_id is None
    assert event.wire() == {"type": "agent_started", "timestamp": "2026-05-04T03:02:01Z"}
