"""Compares the quick and the tolerant way to read a frame."""

import json
from datetime import UTC, datetime
from typing import Any

from aintandem_notify.domain.events import (
    ControlMessage,
    Event,
    InvalidFrame,
    field_names,
    parse_frame,
    read_frames,
    restore_event,
    restore_event_json,
)

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
P = "project-123"


def quick(frame: bytes) -> Event | ControlMessage | InvalidFrame:
    """The result of the quick way, which may ask the tolerant one."""
    others: list[Event | ControlMessage | InvalidFrame] = []

    def read_otherwise(other: str | bytes) -> None:
        others.append(parse_frame(other, P, NOW))

    (content,) = read_frames([frame], P, read_otherwise) or others
    return content


def is_quick(frame: bytes) -> bool:
    """Whether the quick way has read the frame itself."""
    content = quick(frame)
    return isinstance(content, Event) and content.frame is frame


def facts(event: Event) -> dict[str, Any]:
    """All that a reader can see of an event, with the types of its values."""
    fields = {name: getattr(event, name) for name in field_names(type(event))}
    return {
        "class": type(event),
        "fields": fields,
        "types": {name: repr(value) for name, value in fields.items()},
        "zone": event.timestamp.tzinfo,
        "wire": event.wire(),
        "text": json.loads(event.wire_json),
        "key": event.key,
        "extra": event.model_extra,
        "run": event.run_id,
        "changed": event.model_copy(update={"caught_up": True}).wire(),
        "mapped": event.map_values(lambda value: value).wire(),
        "bare": event.without_texts().wire(),
    }


def assert_restored_the_same(stored: str) -> None:
    """A stored event is read back by its text as by its values."""
    assert facts(restore_event_json(stored, "key")) == facts(restore_event(json.loads(stored), "key"))


def assert_same(frame: bytes) -> None:
    """Both ways give the same, with the same types of values."""
    one, other = quick(frame), parse_frame(frame, P, NOW)
    if isinstance(one, Event) and isinstance(other, Event):
        assert facts(one) == facts(other)
        assert one == other
        assert hash(one) == hash(other)
        assert_restored_the_same(one.wire_json)
    else:
        assert one == other
