"""Reads events in any form that is clear: a message of a project's socket, or a stored event.

``quick_parsing`` reads the frames in their usual form, and leaves every other one to this module. Input from
outside never raises here. ``orchestrator.link.frames`` counts and logs the invalid frames.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from msgspec import ValidationError as MsgspecValidationError
from msgspec import convert
from pydantic import TypeAdapter, ValidationError

from aintandem_notify.domain.events.base import Event, UnknownEvent
from aintandem_notify.domain.events.event_types import EVENT_TYPES, LOCAL_TYPES, WIRE_MODELS
from aintandem_notify.foundation.untrusted_json import (
    JsonFlaw,
    UnreadableJson,
    find_flaw,
    is_out_of_memory,
    read_json,
    replace_all_surrogates,
)

MAX_VALUES: Final = 250_000
"""Most values in a frame, about. Parsed, they take up to 30 MB; a usual event has a few hundred."""

CONTROL_TYPES: Final = frozenset({"ping", "pong", "connected"})
"""Types of messages that only keep the connection alive and are no events."""


class Flaw(StrEnum):
    """The reason for which a frame is no event."""

    BINARY = "binary"
    MALFORMED = "malformed"
    NOT_AN_OBJECT = "not an object"
    TOO_DEEP = "nested too deep"
    TOO_MANY_VALUES = "too many values"
    NUMBER_OUT_OF_RANGE = "number out of range"
    NO_MEMORY = "no memory for it"
    NO_TYPE = "no type"
    RESERVED_TYPE = "a type that only the agent makes"
    OTHER_PROJECT = "another project's id"
    MISSING_OR_WRONG_FIELD = "missing or wrong field"


_FLAWS: Final = {
    JsonFlaw.MALFORMED: Flaw.MALFORMED,
    JsonFlaw.TOO_DEEP: Flaw.TOO_DEEP,
    JsonFlaw.TOO_MANY_VALUES: Flaw.TOO_MANY_VALUES,
    JsonFlaw.NUMBER_OUT_OF_RANGE: Flaw.NUMBER_OUT_OF_RANGE,
    JsonFlaw.NO_MEMORY: Flaw.NO_MEMORY,
}


class BinaryFrame(bytes):
    """A binary message of the socket; the bytes of a text message are plain ``bytes``."""


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """A ``ping``, ``pong`` or ``connected`` frame."""

    type: str


@dataclass(frozen=True, slots=True)
class InvalidFrame:
    """A frame that is no event; ``detail`` names the type and the field with the flaw, never the content."""

    flaw: Flaw
    detail: str = ""


_TIMESTAMP: Final = TypeAdapter(datetime)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)

# Times that are valid in ISO 8601 but not in Python: a leap second, and 24:00, which is 00:00 of the next day.
_ODD_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](?:(\d\d:\d\d):60|24:00(?::00)?)(?:[.,]\d+)?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII | re.IGNORECASE,
)
_MAX_TIME_LENGTH: Final = 64


def event_time(value: object, default: datetime) -> datetime:
    """``value`` (ISO text, or seconds or milliseconds since 1970) as aware UTC; ``default`` if it is neither.

    A time without a zone is UTC. Nanoseconds are rounded.
    """
    return _parse_time(value) or default


def parse_frame(
    frame: str | bytes, project_id: str, received_at: datetime
) -> Event | ControlMessage | InvalidFrame:
    """Parses one WebSocket message of the project: its text, or the bytes of its text. Never raises.

    A frame without ``projectId`` belongs to the project of its socket. A missing or unreadable ``timestamp``
    becomes ``received_at``. Lone surrogates are replaced by U+FFFD, so that every text of an event can be
    encoded; JavaScript makes them when it cuts a text in the middle of a character. None of these may cost a
    ``task_failed`` event.
    """
    if isinstance(frame, BinaryFrame):
        return InvalidFrame(Flaw.BINARY)
    try:
        content = _read_json(frame if isinstance(frame, str) else frame.decode())
    except UnicodeDecodeError:
        return InvalidFrame(Flaw.MALFORMED)
    if isinstance(content, InvalidFrame):
        return content
    try:
        return event_from(content, project_id, received_at)
    except BaseException as error:
        if not is_out_of_memory(error):
            raise
        return InvalidFrame(Flaw.NO_MEMORY)


def event_from(
    content: dict[str, Any], project_id: str, received_at: datetime
) -> Event | ControlMessage | InvalidFrame:
    """As ``parse_frame``, for a frame that is already a JSON object.

    The event keeps ``content`` as its wire form. Project and time are added to it if they are missing.
    """
    event_type = content.get("type")
    if not isinstance(event_type, str) or not event_type:
        return InvalidFrame(Flaw.NO_TYPE)
    if event_type in CONTROL_TYPES:
        return ControlMessage(event_type)
    if event_type in LOCAL_TYPES:  # an event of the agent cannot be faked from outside
        return InvalidFrame(Flaw.RESERVED_TYPE, event_type)
    stated_project = content.get("projectId")
    if stated_project is None:
        content["projectId"] = project_id
    elif stated_project != project_id and str(stated_project) != project_id:
        return InvalidFrame(Flaw.OTHER_PROJECT)
    moment = _parse_time(content.get("timestamp"))
    if moment is None:
        moment = received_at
        content["timestamp"] = moment.isoformat()
    model = WIRE_MODELS.get(event_type, UnknownEvent)
    try:
        return model.from_wire(content, moment)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors(include_input=False, include_url=False)[0]["loc"])
        known = model is not UnknownEvent
        return InvalidFrame(Flaw.MISSING_OR_WRONG_FIELD, f"{event_type}.{field}" if known else field)


def restore_event(wire: Mapping[str, Any], key: str | None = None) -> Event:
    """The event whose ``wire()`` was stored, of any type. ``key`` is its stored key; None: computed from ``wire``.

    An event that its model rejects, because another version stored it, is restored as ``UnknownEvent``.
    Raises pydantic's ValidationError for a value that never was an event.
    """
    stored = dict(wire)
    moment = event_time(stored.get("timestamp"), _EPOCH)
    model = EVENT_TYPES.get(str(stored.get("type")), UnknownEvent)
    try:
        event = model.from_wire(stored, moment)
    except ValidationError:
        event = UnknownEvent.from_wire(stored, moment)
    if key is not None:
        event.memo["key"] = key
    return event


def sanitize_value(value: Any) -> Any:
    """Makes a JSON value that is not from a frame fit for an event; None if it cannot be.

    The same limits as for frames: not nested too deep, no infinite number, lone surrogates replaced.
    """
    return None if find_flaw([value]) is not None else replace_all_surrogates(value)


def _parse_time(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, datetime | str | int | float):
        return None
    try:
        moment = _read_time(value)
        if moment.tzinfo is UTC:
            return moment
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # pydantic's ValidationError is a ValueError
        return None


def _read_time(value: datetime | str | float) -> datetime:
    # Milliseconds as text must not come here: "1710102512000" would be an evening in 1710.
    if isinstance(value, str) and value[4:5] == "-":
        # In this order: the two differ in the rounding of nanoseconds, and ``quick_parsing`` rounds as the first.
        for read in (_read_rfc3339, datetime.fromisoformat):
            try:
                return read(value)
            except ValueError:
                pass
        if (odd := _ODD_TIME.fullmatch(value[:_MAX_TIME_LENGTH])) is not None:
            second_before = f"{odd[1]}T{odd[2] or '23:59'}:59{odd[3] or ''}".upper()
            return datetime.fromisoformat(second_before) + timedelta(seconds=1)
    return _TIMESTAMP.validate_python(value)


def _read_rfc3339(text: str) -> datetime:
    try:
        return convert(text, datetime)
    except MsgspecValidationError as error:
        raise ValueError from error


def _read_json(frame: str) -> dict[str, Any] | InvalidFrame:
    try:
        content = read_json(frame, max_values=MAX_VALUES)
    except UnreadableJson as error:
        return InvalidFrame(_FLAWS[error.flaw])
    return content if isinstance(content, dict) else InvalidFrame(Flaw.NOT_AN_OBJECT)
