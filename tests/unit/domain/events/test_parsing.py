"""Frames that are no event: each flaw has its name, and none raises or yields text that cannot be encoded."""

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain.events import (
    CONTROL_TYPES,
    EVENT_TYPES,
    MAX_DEPTH,
    MAX_VALUES,
    WIRE_FAMILIES,
    BinaryFrame,
    ControlMessage,
    Event,
    Flaw,
    InvalidFrame,
    TaskFailedEvent,
    UnknownEvent,
    event_from,
    parse_frame,
    restore_event,
)
from support.event_frames import json_values, near_frames

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
FAILED = '"type": "task_failed", "taskId": "t1", "projectId": "p"'


def parsed(frame: str | bytes) -> Event | ControlMessage | InvalidFrame:
    return parse_frame(frame, "p", NOW)


def failed_with(more: str) -> str:
    return "{" + FAILED + ", " + more + "}"


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    """A frame whose objects and lists are nested ``depth`` deep, the frame itself included."""
    return failed_with(f'"output": {opening * (depth - 1)}{closing * (depth - 1)}')


@pytest.mark.parametrize(
    ("frame", "flaw", "detail"),
    [
        (BinaryFrame(b'{"type": "task_failed"}'), Flaw.BINARY, ""),
        (b'{"type": "task_failed"}', Flaw.MISSING_OR_WRONG_FIELD, "task_failed.taskId"),
        (b'{"type": "task_failed", "a": "\xff"}', Flaw.MALFORMED, ""),
        (b'\xef\xbb\xbf{"type": "task_failed"}', Flaw.MALFORMED, ""),
        ("", Flaw.MALFORMED, ""),
        ("   ", Flaw.MALFORMED, ""),
        ("hello", Flaw.MALFORMED, ""),
        ('{"type": "task_failed"', Flaw.MALFORMED, ""),
        ('{"type": "task_failed"} {}', Flaw.MALFORMED, ""),
        ("{'type': 'task_failed'}", Flaw.MALFORMED, ""),
        ('\ufeff{"type": "task_failed"}', Flaw.MALFORMED, ""),
        ('{"type": "task_failed", "a": "line\nbreak"}', Flaw.MALFORMED, ""),
        ('{"type": "\\ud83d', Flaw.MALFORMED, ""),
        ("null", Flaw.NOT_AN_OBJECT, ""),
        ("true", Flaw.NOT_AN_OBJECT, ""),
        ("17", Flaw.NOT_AN_OBJECT, ""),
        ("1e999", Flaw.NOT_AN_OBJECT, ""),
        ('"task_failed"', Flaw.NOT_AN_OBJECT, ""),
        ('"\\ud800"', Flaw.NOT_AN_OBJECT, ""),
        ("[]", Flaw.NOT_AN_OBJECT, ""),
        ("[{" + FAILED + "}]", Flaw.NOT_AN_OBJECT, ""),
        ("{}", Flaw.NO_TYPE, ""),
        ('{"type": null}', Flaw.NO_TYPE, ""),
        ('{"type": ""}', Flaw.NO_TYPE, ""),
        ('{"type": 7}', Flaw.NO_TYPE, ""),
        ('{"type": ["task_failed"]}', Flaw.NO_TYPE, ""),
        ('{"type": {"task_failed": 1}}', Flaw.NO_TYPE, ""),
        ('{"type": "agent_started"}', Flaw.RESERVED_TYPE, "agent_started"),
        ('{"type": "connection_connected"}', Flaw.RESERVED_TYPE, "connection_connected"),
        ('{"type": "task_failed", "taskId": "t1", "projectId": "q"}', Flaw.OTHER_PROJECT, ""),
        ('{"type": "task_failed", "taskId": "t1", "projectId": ""}', Flaw.OTHER_PROJECT, ""),
        ('{"type": "task_failed", "taskId": "t1", "projectId": ["p"]}', Flaw.OTHER_PROJECT, ""),
        ('{"type": "who_knows", "projectId": "q"}', Flaw.OTHER_PROJECT, ""),
        ('{"type": "task_failed"}', Flaw.MISSING_OR_WRONG_FIELD, "task_failed.taskId"),
        ('{"type": "task_failed", "taskId": ""}', Flaw.MISSING_OR_WRONG_FIELD, "task_failed.taskId"),
        ('{"type": "task_failed", "taskId": null}', Flaw.MISSING_OR_WRONG_FIELD, "task_failed.taskId"),
        ('{"type": "task_failed", "taskId": {}}', Flaw.MISSING_OR_WRONG_FIELD, "task_failed.taskId"),
        ('{"type": "sandbox_error"}', Flaw.MISSING_OR_WRONG_FIELD, "sandbox_error.sandboxId"),
        (
            '{"type": "workflow_phase_started", "executionId": "e", "workflowId": "w"}',
            Flaw.MISSING_OR_WRONG_FIELD,
            "workflow_phase_started.phaseId",
        ),
        (
            '{"type": "workflow_execution_failed", "executionId": "e"}',
            Flaw.MISSING_OR_WRONG_FIELD,
            "workflow_execution_failed.workflowId",
        ),
        ('{"type": "artifact", "taskId": "t"}', Flaw.MISSING_OR_WRONG_FIELD, "artifact.artifact"),
        (
            '{"type": "artifact", "taskId": "t", "artifact": "a.txt"}',
            Flaw.MISSING_OR_WRONG_FIELD,
            "artifact.artifact",
        ),
        ('{"type": "' + "x" * 129 + '"}', Flaw.MISSING_OR_WRONG_FIELD, "type"),
        (
            '{"type": "task_failed", "taskId": "' + "x" * 513 + '"}',
            Flaw.MISSING_OR_WRONG_FIELD,
            "task_failed.taskId",
        ),
        (failed_with('"a": NaN'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (failed_with('"a": Infinity'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (failed_with('"a": -Infinity'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (failed_with('"a": 1e999'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (failed_with('"a": -1E+999'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (failed_with('"a": [{"b": [1e999]}]'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (failed_with('"a": 10e308'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (failed_with(f'"a": {"9" * 400}.5'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (failed_with('"a": "\\ud800", "b": 1e999'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (failed_with(f'"a": {"9" * 5000}'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (failed_with(f'"a": {"9" * 5000}.5'), Flaw.NUMBER_OUT_OF_RANGE, ""),
        (nested(MAX_DEPTH + 3), Flaw.TOO_DEEP, ""),
        (nested(150), Flaw.TOO_DEEP, ""),
        (nested(300), Flaw.TOO_DEEP, ""),
        (nested(900), Flaw.TOO_DEEP, ""),
        (nested(100_000), Flaw.TOO_DEEP, ""),
        ("[" * 100_000, Flaw.TOO_DEEP, ""),
        (failed_with(f'"output": [{"[]," * MAX_VALUES}0]'), Flaw.TOO_MANY_VALUES, ""),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_frame_that_is_no_event_is_named_after_its_flaw(frame: str, flaw: Flaw, detail: str) -> None:
    assert parsed(frame) == InvalidFrame(flaw, detail)


def test_every_flaw_is_in_the_table_above() -> None:
    marks = test_a_frame_that_is_no_event_is_named_after_its_flaw.pytestmark  # type: ignore[attr-defined]
    assert {case[1] for case in marks[0].args[1]} == set(Flaw) - {Flaw.NO_MEMORY}


@pytest.mark.parametrize(
    "place",
    ["aintandem_notify.foundation.untrusted_json.from_json", "aintandem_notify.domain.events.parsing.event_from"],
)
def test_a_frame_that_there_is_no_memory_for_is_no_event(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(place, fail)

    assert parsed(failed_with('"a": 1')) == InvalidFrame(Flaw.NO_MEMORY)


@pytest.mark.parametrize("kind", sorted(CONTROL_TYPES))
def test_control_frames_are_no_events(kind: str) -> None:
    assert parsed(json.dumps({"type": kind, "timestamp": 17})) == ControlMessage(kind)


@pytest.mark.parametrize(
    "frame",
    [
        nested(MAX_DEPTH),
        nested(MAX_DEPTH, '{"a":', "}").replace(":}", ":0}"),
        failed_with('"a": 1e308'),
        failed_with('"a": 1e-999'),
        failed_with('"a": "1e999"'),
        failed_with(f'"a": {"9" * 400}'),
        failed_with('"a": "' + "[" * 500 + '"'),
        failed_with('"a": "' + "," * MAX_VALUES + '"'),
        failed_with('"error": ' + json.dumps("x" * 1_000_000)),
        failed_with('"type": "task_failed"'),
        failed_with('"projectId": null'),
        "\n\t {" + FAILED + "} \r\n",
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_unusual_frame_is_an_event(frame: str) -> None:
    event = parsed(frame)

    assert isinstance(event, TaskFailedEvent)
    assert event.project_id == "p"
    assert len(event.key) == 32


def test_a_project_id_may_be_a_number() -> None:
    event = parse_frame('{"type": "task_failed", "taskId": "t", "projectId": 17}', "17", NOW)

    assert isinstance(event, TaskFailedEvent)
    assert event.project_id == "17"


def test_a_frame_from_outside_cannot_pose_as_an_event_of_ours() -> None:
    for name, model in EVENT_TYPES.items():
        outcome = event_from({"type": name, "taskId": "t", "executionId": "e"}, "p", NOW)
        assert (outcome == InvalidFrame(Flaw.RESERVED_TYPE, name)) is (model.family not in WIRE_FAMILIES)


@pytest.mark.parametrize(
    ("sent", "mended"),
    [
        (r"\ud83d", "\N{REPLACEMENT CHARACTER}"),
        (r"a\ude00b", "a\N{REPLACEMENT CHARACTER}b"),
        (r"\ud83d\ud83d\ude00", "\N{REPLACEMENT CHARACTER}\N{GRINNING FACE}"),
        (r"\ud83d\ude00", "\N{GRINNING FACE}"),
    ],
)
def test_half_a_character_is_mended_wherever_it_stands(sent: str, mended: str) -> None:
    event = parsed(failed_with(f'"error": "{sent}", "{sent}": [{{"{sent}": "{sent}", "n": 1.5}}]'))

    assert isinstance(event, TaskFailedEvent)
    assert event.error == mended
    assert event.wire()[mended] == [{mended: mended, "n": 1.5}]
    json.dumps(event.wire(), ensure_ascii=False).encode()


def test_a_name_with_half_a_character_is_mended_before_it_names_anything() -> None:
    event = parsed(r'{"type": "task_f\ud800", "taskId": "t"}')

    assert isinstance(event, UnknownEvent)
    assert event.type == "task_f\N{REPLACEMENT CHARACTER}"


def test_a_detail_never_holds_the_content_of_a_frame() -> None:
    outcome = parsed('{"type": "task_failed", "taskId": ["canary"], "error": "canary"}')

    assert "canary" not in repr(outcome)


def is_sound(outcome: Event | ControlMessage | InvalidFrame) -> None:
    """The promises of every result, for all input."""
    if not isinstance(outcome, Event):
        return
    sendable = json.dumps(outcome.wire(), ensure_ascii=False, allow_nan=False).encode()
    assert outcome.project_id == "p"
    assert outcome.timestamp.tzinfo is UTC
    back = restore_event(json.loads(sendable))
    assert back.key == outcome.key
    assert back == outcome
    assert json.loads(outcome.wire_json) == outcome.wire()


@given(st.text() | st.text(st.characters(categories=["Cs", "Cc", "P", "N"])))
def test_any_text_has_an_outcome(frame: str) -> None:
    is_sound(parsed(frame))


@given(json_values | near_frames)
def test_any_json_has_an_outcome(content: Any) -> None:
    is_sound(parsed(json.dumps(content)))
    is_sound(parsed(json.dumps(content, ensure_ascii=False)))


@given(near_frames, st.randoms(use_true_random=False))
def test_the_key_is_the_content_s(content: dict[str, Any], chance: random.Random) -> None:
    first = parsed(json.dumps(content))
    if not isinstance(first, Event):
        return
    shuffled = list(content.items())
    chance.shuffle(shuffled)
    again = parsed(json.dumps(dict(shuffled), indent=1, ensure_ascii=False))
    other = parsed(json.dumps(content | {"unheardOf": "of"}))

    assert isinstance(again, Event)
    assert isinstance(other, Event)
    assert again.key == first.key
    assert other.key != first.key
