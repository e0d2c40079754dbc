"""Reads frames in their usual form, several times as fast as ``parsing``, with the same result.

msgspec makes the event straight from the bytes of the frame. It takes only frames whose fields are all known and
of their own types. Everything else, and everything that it would take in another way, goes to ``parsing``: that
alone decides about frames that are no event.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any, Final, cast

from msgspec import MsgspecError, json
from pydantic_core import from_json

from aintandem_notify.domain.events.base import Event, UnknownEvent
from aintandem_notify.domain.events.event_types import WIRE_MODELS
from aintandem_notify.domain.events.field_types import OptionalObject
from aintandem_notify.domain.events.parsing import restore_event
from aintandem_notify.domain.events.record import record_fields, set_frame, set_memo
from aintandem_notify.foundation.untrusted_json import find_flaw, is_flat, read_json

Frame = str | bytes

MAX_QUICK_BYTES: Final = 2**16
"""Bytes of a frame that is read in the quick way; its values cannot be too many then."""

_decode: Final = json.Decoder(reduce(or_, WIRE_MODELS.values())).decode
_FIELD_OF_ANY_VALUE: Final = {
    model: field.name
    for model in WIRE_MODELS.values()
    for field in record_fields(model)
    if field.hint in (Any, OptionalObject)
}
"""The field that takes any JSON value or object. No type has two."""
_REFUSALS: Final = (MsgspecError, ValueError, ArithmeticError, RecursionError, MemoryError)
"""The errors of msgspec for a frame that it does not take; the other way reads the frame, and decides about it."""
_NO_EVENT: Final = UnknownEvent(type="none", timestamp=datetime.fromtimestamp(0, UTC))
"""Stands for a frame that msgspec does not take; it belongs to no project."""
_REFUSED: Final = b""
"""Stands for a frame that msgspec is not given."""


def read_frames(
    frames: Sequence[Frame],
    project_id: str,
    read_otherwise: Callable[[Frame], Event | None],
    *,
    max_bytes: int = MAX_QUICK_BYTES,
) -> list[Event]:
    """The events in ``frames``, in order. Frames that are not in their usual form go to ``read_otherwise``.

    So do frames with more than ``max_bytes``.
    """
    events, utc, fields_of_any_value = _decode_all(frames, max_bytes), UTC, _FIELD_OF_ANY_VALUE
    others = [
        event
        for event in events
        if event.project_id != project_id
        or event.timestamp.tzinfo is not utc
        or (type(event) in fields_of_any_value and not _has_sound_value(event))
    ]
    if others:
        return list(_with_others(events, frames, frozenset(map(id, others)), read_otherwise))
    any(map(set_frame, events, cast("Sequence[bytes]", frames)))  # a loop without Python: it gives None for each
    return events


def restore_event_json(wire_json: str, key: str) -> Event:
    """As ``restore_event``, for an event whose ``wire_json`` was stored."""
    frame = wire_json.encode()
    try:
        event: Event | None = _decode(frame) if len(frame) <= MAX_QUICK_BYTES else None
    except _REFUSALS:
        event = None
    if (
        event is None
        or event.timestamp.tzinfo is not UTC
        or (type(event) in _FIELD_OF_ANY_VALUE and not _has_sound_value(event))
    ):
        try:
            return restore_event(from_json(frame), key)
        except ValueError:  # older versions of pydantic count the sign of an integer as a digit
            return restore_event(read_json(frame, strict=False), key)
    set_frame(event, frame)
    set_memo(event, {"key": key})
    return event


def _with_others(
    events: Sequence[Event],
    frames: Sequence[Frame],
    others: Set[int],
    read_otherwise: Callable[[Frame], Event | None],
) -> Iterator[Event]:
    """The events, with those of ``read_otherwise`` in the place of those whose ``id`` is one of ``others``."""
    for event, frame in zip(events, frames, strict=True):
        if id(event) not in others:
            set_frame(event, cast("bytes", frame))
            yield event
        elif (other := read_otherwise(frame)) is not None:
            yield other


def _decode_all(frames: Sequence[Frame], max_bytes: int) -> list[Event]:
    """An event for each frame, ``_NO_EVENT`` for one that msgspec does not take or is not given."""
    if not {bytes}.issuperset(map(type, frames)) or max(map(len, frames), default=0) > max_bytes:
        frames = [frame if type(frame) is bytes and len(frame) <= max_bytes else _REFUSED for frame in frames]
    events: list[Event] = []
    remaining = iter(frames)
    while True:
        try:
            # Much quicker than a call for each frame. After an error, the frames behind the refused one remain.
            events.extend(map(_decode, remaining))
        except _REFUSALS:
            events.append(_NO_EVENT)
        else:
            return events


def _has_sound_value(event: Event) -> bool:
    """True if the JSON value in the event's field for any is not nested too deep, and its numbers are finite."""
    value = getattr(event, _FIELD_OF_ANY_VALUE[type(event)])
    if value is None or type(value) is str or (type(value) is dict and is_flat(value.values())):
        return True
    return find_flaw([value]) is None
