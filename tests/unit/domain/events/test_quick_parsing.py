"""The quick way and the tolerant way read every frame the same."""

import json
from copy import copy, deepcopy
from pickle import dumps, loads
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from aintandem_notify.domain.event_redaction import redact_event
from aintandem_notify.domain.events import WIRE_FAMILIES, BinaryFrame, Event, parse_frame, read_frames
from aintandem_notify.domain.events.event_types import WIRE_MODELS
from aintandem_notify.domain.events.field_types import OptionalObject
from aintandem_notify.domain.events.quick_parsing import _FIELD_OF_ANY_VALUE
from aintandem_notify.domain.events.record import record_fields
from aintandem_notify.domain.samples import SAMPLE_FIELDS, sample_event
from support.both_ways import NOW, P, assert_same, facts, is_quick, quick
from support.event_frames import BY_TYPE, FRAMES, json_values, near_frames

HEAD = '"type":"step_progress","projectId":"project-123","taskId":"t"'
NOON = '"timestamp":"2026-05-04T12:00:00Z"'


@pytest.mark.parametrize("frame", [frame for frame, _, _ in FRAMES], ids=lambda frame: str(frame["type"]))
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n ")])
def test_every_frame_of_the_guide_is_read_in_the_quick_way(
    frame: dict[str, Any], separators: tuple[str, str]
) -> None:
    text = json.dumps(frame, separators=separators, ensure_ascii=False).encode()

    assert is_quick(text)
    assert_same(text)
    assert_same(json.dumps(frame).encode())


@pytest.mark.parametrize(
    "member",
    [
        '"timestamp":"2026-05-04T12:00:00.1229999999Z"',
        '"timestamp":"2026-05-04T12:00:00.122999Z"',
        '"timestamp":"2026-05-04T12:00:00.1234567Z"',
        '"timestamp":"2026-05-04T12:00:00.1230000001Z"',
        '"timestamp":"2026-05-04T12:00:00.9999999Z"',
        '"timestamp":"2026-05-04T12:00:00+00:00"',
        '"timestamp":"2026-05-04T12:00:00.123456+00:00"',
        '"timestamp":"2026-05-04T12:00:00.1234567+00:00"',
        '"timestamp":"2026-05-04T12:00:00-00:00"',
        '"timestamp":"2026-05-04T12:00:00+02:00"',
        '"timestamp":"2026-05-04t12:00:00z"',
        '"timestamp":"2026-05-04 12:00:00Z"',
        '"timestamp":"2026-05-04T12:00:00"',
        '"timestamp":"2026-05-04T12:00:60Z"',
        '"timestamp":"2026-05-04T24:00:00Z"',
        '"timestamp":"0001-01-01T00:00:00Z"',
        '"timestamp":"9999-12-31T23:59:59.9999999Z"',
        '"timestamp":1777856400250',
        f'"\\u0074imestamp":"2026-05-04T12:00:00.1234567Z",{NOON}',
        f'{NOON},"\\u0074imestamp":"2026-05-04T12:00:00.1229999Z"',
        f'{NOON},"output":{{"timestamp":"2026-05-04T12:00:00.1234567Z"}}',
        f'{NOON},"progress":1e999',
        f'{NOON},"progress":-1E+400',
        f'{NOON},"progress":{"9" * 308}',
        f'{NOON},"progress":{"9" * 309}',
        f'{NOON},"progress":9007199254740993',
        f'{NOON},"progress":0.1000000000000000055511151231257827021181583404541015625',
        f'{NOON},"progress":-0',
        f'{NOON},"progress":5e-324',
        f'{NOON},"progress":"7"',
        f'{NOON},"progress":true',
        f'{NOON},"progress":null',
        f'{NOON},"output":[1e999]',
        f'{NOON},"output":1e999',
        f'{NOON},"output":{"9" * 400}',
        f'{NOON},"output":{"9" * 4300}',
        f'{NOON},"output":{"9" * 4301}',
        f'{NOON},"output":-{"9" * 4300}',
        f'{NOON},"output":{"9" * 5000}',
        f'{NOON},"output":[18446744073709551616,-9223372036854775809,1.0,1E2,1e-400]',
        f'{NOON},"output":NaN',
        f'{NOON},"output":{"[" * 99}{"]" * 99}',
        f'{NOON},"output":{"[" * 100}{"]" * 100}',
        f'{NOON},"output":{"[" * 101}{"]" * 101}',
        f'{NOON},"output":{"[" * 102}{"]" * 102}',
        f'{NOON},"output":{"[" * 500}{"]" * 500}',
        f'{NOON},"output":{{"a":1,"a":2,"b":[{{"c":1,"c":1}}]}}',
        f'{NOON},"output":"\\ud800"',
        f'{NOON},"output":["\\ud83d\\ude00","\\u00e9\\/\\b\\f\\u001b"]',
        f'{NOON},"step":"\\ud800x"',
        f'{NOON},"step":"\\u0000"',
        f'{NOON},"step":"a\nb"',
        f'{NOON},"step":7,"status":true,"message":[null]',
        f'{NOON},"unknown":1',
        f'{NOON},"unknown":1e999',
        f'{NOON},"unknown":{"[" * 500}{"]" * 500}',
        f'{NOON},"step_id":"s"',
        f'{NOON},"taskId":"other"',
        f'{NOON},"task_id":"other"',
        f'{NOON},"taskId":""',
        f'{NOON},"taskId":"{"x" * 512}"',
        f'{NOON},"taskId":"{"x" * 513}"',
        f'{NOON},"taskId":"{"😀" * 512}"',
        f'{NOON},"projectId":"other"',
        f'{NOON},"projectId":null',
        f'{NOON},"type":"output"',
        f'{NOON},"type":"agent_started"',
        f'{NOON},"type":"step_progress"',
        f'{NOON},"\\u0074ype":"output"',
        f'{NOON},"caughtUp":true',
        f'{NOON},"caughtUp":"yes"',
        f'{NOON},"caughtUp":1',
        f"{NOON},",
        "",
    ],
    ids=lambda member: member[:60],
)
def test_an_odd_member_is_read_the_same(member: str) -> None:
    assert_same(f"{{{HEAD},{member}}}".encode())
    assert_same(f"{{{member},{HEAD}}}".encode())


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"step_progress"',
        b'{"type":"ping"}',
        b'{"type":7}',
        b'{"type":"agent_started","timestamp":"2026-05-04T12:00:00Z"}',
        f"{{{HEAD},{NOON}}} {{}}".encode(),
        f"{{{HEAD},{NOON}}}\n ".encode(),
        b"\xef\xbb\xbf" + f"{{{HEAD},{NOON}}}".encode(),
        f'{{{HEAD},{NOON},"step":"'.encode() + b'\xff"}',
        f'{{{HEAD},{NOON},"output":["'.encode() + b'\xed\xa0\x80"]}',
        f'{{{HEAD},{NOON},"unknown":"'.encode() + b'\xff"}',
        f'{{{HEAD},{NOON},"output":"{"x" * 70_000}"}}'.encode(),
    ],
    ids=lambda frame: repr(frame[:60]),
)
def test_an_odd_frame_is_read_the_same(frame: bytes) -> None:
    assert_same(frame)


@given(near_frames, st.booleans())
def test_frames_that_come_near_to_events_are_read_the_same(frame: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(frame, ensure_ascii=ascii_only)
    assert_same(text.encode(errors="surrogatepass"))


digits = st.text("0123456789", min_size=1, max_size=12)
times = st.builds(
    "{}T{}{}{}".format,
    st.dates().map(str),
    st.times().map(lambda time: time.strftime("%H:%M:%S")),
    digits.map(".{}".format) | st.just("") | st.sampled_from([".999999999", ".0009995", ".1229999", ".5005"]),
    st.sampled_from(["Z", "Z", "Z", "z", "+00:00", "-00:00", "+02:00", ""]),
)


@st.composite
def wire_frames(draw: st.DrawFn) -> dict[str, Any]:
    """Frames of real types, with most fields in their usual form."""
    kind = draw(st.sampled_from(sorted(BY_TYPE)))
    frame = {"type": kind, "timestamp": draw(times), **BY_TYPE[kind], **SAMPLE_FIELDS[kind], "projectId": P}
    frame["timestamp"] = draw(times)
    for name in draw(st.lists(st.sampled_from(sorted(frame)), max_size=2)):
        frame[name] = draw(json_values | st.text())
    return frame | draw(st.dictionaries(st.text(max_size=5), json_values, max_size=1))


@given(wire_frames())
def test_frames_of_real_types_are_read_the_same(frame: dict[str, Any]) -> None:
    assert_same(json.dumps(frame, ensure_ascii=False).encode(errors="surrogatepass"))


def hide(value: Any) -> Any:
    return "?" if isinstance(value, str) else dict.fromkeys(value, "?") if isinstance(value, dict) else value


def failed(**fields: Any) -> tuple[Event, bytes]:
    frame = json.dumps(BY_TYPE["task_failed"] | fields).encode()
    event = quick(frame)
    assert isinstance(event, Event)
    assert event.frame is frame
    return event, frame


def test_a_changed_copy_does_not_carry_the_frame_along() -> None:
    event, _ = failed(error="sesame")

    for changed in (
        structs.replace(event, error="?"),
        event.model_copy(update={"error": "?"}),
        event.map_values(hide),
    ):
        assert "sesame" not in f"{changed!r} {changed.wire()} {changed.wire_json} {changed.memo} {changed.frame!r}"
        assert changed.wire()["error"] == "?"


def test_the_wire_cannot_set_the_memory_of_an_event() -> None:
    event = parse_frame(json.dumps(BY_TYPE["task_failed"] | {"_memo": {"key": "x"}, "_frame": "y"}), P, NOW)

    assert isinstance(event, Event)
    assert event.model_extra == {"_memo": {"key": "x"}, "_frame": "y"}
    assert event.frame is None
    assert len(event.key) == 32


@pytest.mark.parametrize(
    "make", [copy, deepcopy, lambda event: loads(dumps(event)), lambda event: event.detached()]
)
@pytest.mark.parametrize("extra", [{}, {"unknown": [1]}])
def test_a_copy_is_the_same_event(make: Any, extra: dict[str, Any]) -> None:
    frame = json.dumps(BY_TYPE["task_failed"] | extra).encode()
    event = quick(frame)
    assert isinstance(event, Event)
    redacted = event.map_values(hide)

    assert facts(make(event)) == facts(event)
    assert make(redacted) == redacted
    assert make(redacted).key == event.key


def test_a_detached_copy_shares_nothing_that_can_be_changed() -> None:
    frame = json.dumps(BY_TYPE["task_completed"] | {"output": [[1]]}).encode()
    event = quick(frame)
    assert isinstance(event, Event)
    event.wire()
    mine = event.detached()
    mine.wire()["output"].append(2)
    getattr(mine, "output").append(3)  # noqa: B009  # the base has no such field

    assert event.wire()["output"] == [[1]]
    assert getattr(event, "output") == [[1]]  # noqa: B009


whole_frames = (
    near_frames.map(lambda frame: json.dumps(frame).encode())
    | st.sampled_from([json.dumps(frame).encode() for frame, _, _ in FRAMES])
    | st.sampled_from([b"", b"{", b'{"type":"ping"}', b"x" * 200, json.dumps(FRAMES[0][0])])
    | st.just(BinaryFrame(json.dumps(FRAMES[0][0]).encode()))
)


@given(st.lists(whole_frames, max_size=6))
def test_frames_in_one_batch_are_read_as_each_alone(batch: list[str | bytes]) -> None:
    others: list[str | bytes] = []

    events = read_frames(batch, P, others.append, max_bytes=150)

    alone = [(frame, read_frames([frame], P, lambda _frame: None, max_bytes=150)) for frame in batch]
    assert events == [event for _, found in alone for event in found]
    assert [event.frame for event in events] == [frame for frame, found in alone if found]
    assert others == [frame for frame, found in alone if not found]


def test_the_quick_way_looks_at_every_field_of_any_value() -> None:
    fields = [field.hint for model in WIRE_MODELS.values() for field in record_fields(model)]

    assert len(_FIELD_OF_ANY_VALUE) == sum(hint in (Any, OptionalObject) for hint in fields)


def test_only_the_wire_families_have_a_quick_way() -> None:
    for kind, fields in SAMPLE_FIELDS.items():
        frame = {"type": kind, "timestamp": "2026-05-04T12:00:00Z", **fields, "projectId": P}
        assert is_quick(json.dumps(frame).encode()) is (sample_event(kind).family in WIRE_FAMILIES)


@pytest.mark.parametrize(
    "members",
    [
        '"error":"token=sesame-0123456","error":"fine"',
        '"error":"fine","output":{"a":"token=sesame-0123456","a":1}',
        '"output":[{"token":"sesame-0123456","token":1}]',
    ],
)
def test_a_repeated_key_carries_no_secret_past_redaction(members: str) -> None:
    kind = "task_failed" if "error" in members else "task_completed"
    frame = json.dumps(BY_TYPE[kind], ensure_ascii=False)
    event = quick(f"{frame[:-1]},{members}}}".encode())
    assert isinstance(event, Event)
    assert event.frame is not None
    assert "sesame" in event.wire_json

    redacted = redact_event(event)

    assert "sesame" not in f"{redacted.wire_json} {redacted.wire()} {redacted.frame!r}"
    assert redacted.key == event.key


def test_an_event_without_a_secret_stays_the_same_object() -> None:
    event, _ = failed(error="\b the word token alone")

    assert redact_event(event) is event
