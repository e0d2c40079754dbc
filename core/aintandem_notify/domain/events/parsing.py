"""From one message of a project's socket to an event, and from a kept event back; nothing here raises on input
from outside.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

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
"""Values of a frame, about. Read, they take 30 MB at the worst; an event that anybody reads has a few hundred."""

CONTROL_TYPES: Final = frozenset({"ping", "pong", "connected"})
"""Frames that keep the connection and are no events."""


class Flaw(StrEnum):
    """Why a frame is no event."""

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


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """A ``ping``, ``pong`` or ``connected`` frame."""

    type: str


@dataclass(frozen=True, slots=True)
class InvalidFrame:
    """A frame that cannot be an event; ``detail`` names the place, never the content."""

    flaw: Flaw
    detail: str = ""


_TIMESTAMP: Final = TypeAdapter(datetime)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)

# Times that ISO 8601 has and Python has not: a leap second, and the end of a day, which begins the next one.
_ODD_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](?:(\d\d:\d\d):60|24:00(?::00)?)(?:[.,]\d+)?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII | re.IGNORECASE,
)
_LONGEST_TIME: Final = 64


def event_time(value: object, default: datetime) -> datetime:
    """``value`` (ISO text, or seconds or milliseconds since 1970) as aware UTC; ``default`` if it is neither.

    A time without a zone is UTC.
    """
    return _moment(value) or default


def parse_frame(
    frame: str | bytes, project_id: str, received_at: datetime
) -> Event | ControlMessage | InvalidFrame:
    """What one WebSocket message of the project says. Never raises.

    A frame without ``projectId`` is taken to be about the project whose socket it came over, and a missing
    or unreadable ``timestamp`` is ``received_at``: neither is a reason to lose a failure. Lone surrogates
    (JavaScript cuts texts in the middle of a character) are replaced by U+FFFD for the same reason, so
    that every text of an event can be encoded.
    """
    if not isinstance(frame, str):
        return InvalidFrame(Flaw.BINARY)
    content = _read_json(frame)
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
    """As ``parse_frame``, for a frame that is a JSON object already.

    The event keeps ``content`` as its wire form, completed by the project and the time if it had none.
    """
    event_type = content.get("type")
    if not isinstance(event_type, str) or not event_type:
        return InvalidFrame(Flaw.NO_TYPE)
    if event_type in CONTROL_TYPES:
        return ControlMessage(event_type)
    if event_type in LOCAL_TYPES:  # nobody fakes an agent's event from outside
        return InvalidFrame(Flaw.RESERVED_TYPE, event_type)
    stated_project = content.get("projectId")
    if stated_project is None:
        content["projectId"] = project_id
    elif stated_project != project_id and str(stated_project) != project_id:
        return InvalidFrame(Flaw.OTHER_PROJECT)
    moment = _moment(content.get("timestamp"))
    if moment is None:
        moment = received_at
        content["timestamp"] = moment.isoformat()
    model = WIRE_MODELS.get(event_type, UnknownEvent)
    try:
        return model.from_wire(content, moment)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False, include_url=False)[0]["loc"])
        known = model is not UnknownEvent
        return InvalidFrame(Flaw.MISSING_OR_WRONG_FIELD, f"{event_type}.{place}" if known else place)


def restore_event(wire: Mapping[str, Any], key: str | None = None) -> Event:
    """The event whose ``wire()`` was kept; any type, ours included. ``key``: the one that it was known by.

    One that its model does not take, because another version kept it, comes back as ``UnknownEvent``.
    Raises pydantic's ValidationError for what never was an event.
    """
    kept = dict(wire)
    moment = event_time(kept.get("timestamp"), _EPOCH)
    model = EVENT_TYPES.get(str(kept.get("type")), UnknownEvent)
    try:
        event = model.from_wire(kept, moment)
    except ValidationError:
        event = UnknownEvent.from_wire(kept, moment)
    if key is not None:
        event.__dict__["key"] = key
    return event


def sanitize_value(value: Any) -> Any:
    """``value``, a JSON value from elsewhere than a frame, as an event may hold it; None for what it may not.

    The same as for frames: not too deep, no infinite number, lone surrogates mended.
    """
    return None if find_flaw([value]) is not None else replace_all_surrogates(value)


def _moment(value: object) -> datetime | None:
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
    # What JavaScript writes, read ten times as fast as by pydantic. Milliseconds as text must not come here:
    # "1710102512000" would be an evening in 1710.
    if isinstance(value, str) and value[4:5] == "-":
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
        if (odd := _ODD_TIME.fullmatch(value[:_LONGEST_TIME])) is not None:
            second_before = f"{odd[1]}T{odd[2] or '23:59'}:59{odd[3] or ''}".upper()
            return datetime.fromisoformat(second_before) + timedelta(seconds=1)
    return _TIMESTAMP.validate_python(value)


def _read_json(frame: str) -> dict[str, Any] | InvalidFrame:
    try:
        content = read_json(frame, max_values=MAX_VALUES)
    except UnreadableJson as error:
        return InvalidFrame(_FLAWS[error.flaw])
    return content if isinstance(content, dict) else InvalidFrame(Flaw.NOT_AN_OBJECT)
