"""The base class of all events: identity, wire form and key."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any, ClassVar, Final, Self

from msgspec import structs
from pydantic_core import to_json

from aintandem_notify.domain.events.field_types import Flag, Moment, TypeName
from aintandem_notify.domain.events.record import (
    Record,
    convert_json,
    decode,
    make,
    names_on_wire,
    record_fields,
    set_memo,
)
from aintandem_notify.foundation.canonical_json import canonical_json


class Family(StrEnum):
    """The kind of thing that an event is about."""

    TASK = "task"
    WORKFLOW = "workflow"
    SANDBOX = "sandbox"
    CONNECTION = "connection"
    AGENT = "agent"
    WATCH = "watch"
    UNKNOWN = "unknown"


DOT_SEGMENTS: Final = frozenset({".", ".."})
"""Segments of a URL path that mean a step in it, even when quoted: an id with such a value has no URL."""


class Event(Record):
    """Something that happened.

    ``timestamp`` is the orchestrator's time of the event, aware UTC. ``caught_up`` is true if the event was made
    from REST responses after a gap. An optional field that arrives in a wrong form is None (numbers) or its JSON
    (texts); only the identity must be valid. ``wire()`` still holds the original value. Events are equal if their
    ``wire()`` is.
    """

    family: ClassVar[Family] = Family.UNKNOWN
    identity: ClassVar[frozenset[str]] = frozenset({"timestamp", "project_id", "caught_up"})
    """The fields that identify the event and its subject, independent of its texts."""

    type: ClassVar[str]
    timestamp: Moment
    project_id: str | None = None
    caught_up: Flag = False

    @classmethod
    def from_wire(cls, wire: dict[str, Any], timestamp: datetime) -> Self:
        """The event in ``wire``, which becomes its wire form unchanged. Raises pydantic's ValidationError."""
        values = {**wire, "timestamp": timestamp}
        event = convert_json(cls, values) or make(cls, values)
        event.memo["wire"] = wire
        return event

    def wire(self) -> dict[str, Any]:
        """The event as JSON values in the wire's camelCase: as it came, unknown fields included.

        Not a copy: do not change it.
        """
        memo = self.memo
        if "wire" not in memo:
            memo["wire"] = {"type": self.type} | self.dump() if self.frame is None else decode(self.frame)
        wire: dict[str, Any] = memo["wire"]
        return wire

    @property
    def wire_json(self) -> str:
        """``wire()`` as JSON text: the frame as it came, unless it has escapes that hide letters."""
        memo, frame = self.memo, getattr(self, "_frame", None)
        if "wire_json" not in memo:
            is_plain = frame is not None and not _may_hide_letters(frame)
            memo["wire_json"] = (frame if frame is not None and is_plain else to_json(self.wire())).decode()
        text: str = memo["wire_json"]
        return text

    @property
    def key(self) -> str:
        """32 hex digits, equal for frames with equal content, independent of their spacing and key order."""
        memo = self.memo
        if "key" not in memo:
            # A decoded frame is not kept: most events need it for nothing but their key.
            wire = decode(self.frame) if self.frame is not None and "wire" not in memo else self.wire()
            memo["key"] = blake2b(canonical_json(wire), digest_size=16).hexdigest()
        key: str = memo["key"]
        return key

    @property
    def run_id(self) -> str | None:
        """The id of the task, workflow execution or sandbox; None for events about no run."""
        return None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Event) and self.wire() == other.wire()

    def __hash__(self) -> int:
        return hash((self.type, self.project_id, self.run_id))

    def map_values(self, change: Callable[[Any], Any], replacements: Mapping[str, Any] | None = None) -> Self:
        """The same event with every value passed through ``change``, except those of its ``identity``.

        Fields in ``replacements`` get the value that it has for them. Key, type, ids and time stay, and nothing is
        validated again. So the result is always the same event, even if ``change`` returns an invalid value.
        """
        replaced, raw, names = replacements or {}, self.wire(), names_on_wire(type(self))
        values = {
            field.name: replaced[field.name]
            if field.name in replaced
            else _map_value(getattr(self, field.name), change)
            for field in record_fields(type(self))
            if field.name not in self.identity
        }
        known = names.keys() | {"type"}
        identity = {"type"} | {
            next((alias for alias in names if names[alias] == name and alias in raw), "") for name in self.identity
        }
        wire = {
            alias: raw[alias]
            if alias in identity
            else replaced[names[alias]]
            if names.get(alias) in replaced
            else _map_value(raw[alias], change)
            for alias in raw
            if alias in known
        } | change({alias: value for alias, value in raw.items() if alias not in known})
        copy = structs.replace(self, **values)
        set_memo(copy, {"wire": wire, "key": self.key, "extra": change(self.model_extra)})
        return copy

    def without_texts(self) -> Self:
        """The same event with its ``identity`` alone; other required fields are ``"?"`` or empty."""
        wire: dict[str, Any] = {"type": self.type, "timestamp": self.timestamp.isoformat()}
        for field in record_fields(type(self)):
            if field.name in self.identity - {"timestamp"} and (value := getattr(self, field.name)):
                wire[field.names[0]] = value
            elif field.required and field.name not in self.identity:
                wire[field.names[0]] = "?" if isinstance(getattr(self, field.name), str) else {}
        event = type(self).from_wire(wire, self.timestamp)
        event.memo["key"] = self.key
        return event


def _may_hide_letters(frame: bytes) -> bool:
    """True if the JSON may have unnecessary escapes, so that a search for a text in it may fail."""
    return b"\\" in frame and (b"\\u" in frame or b"\\/" in frame)


def _map_value(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` for the value of a field, which may be a record or a tuple and not only a JSON value."""
    match value:
        case Record():
            fields = {
                field.name: _map_value(getattr(value, field.name), change) for field in record_fields(type(value))
            }
            return value.model_copy(update=fields | (change(value.model_extra) if value.model_extra else {}))
        case tuple():
            return tuple(change(list(value)))
        case str() | dict() | list():
            return change(value)
        case _:
            return value  # numbers and times stay as they are


class UnknownEvent(Event):
    """An event of a type that this version does not know; its fields are in ``model_extra``, under their wire
    names.

    Example::

        match event:
            case UnknownEvent(type=kind, model_extra=fields):
                print(kind, fields)
    """

    identity: ClassVar[frozenset[str]] = Event.identity | {"type"}
    type: TypeName  # type: ignore[misc]  # the others have one type for all, so that it costs nothing
