"""Builds the bodies of calls, and completes responses that lack fields."""

from typing import Any, TypeVar

from aintandem_notify.errors import ApiError
from aintandem_notify.orchestrator.rest.client import find_record
from aintandem_notify.orchestrator.rest.records import Record

RecordT = TypeVar("RecordT", bound=Record)


def without_none(**fields: object) -> dict[str, object]:
    """The fields of a body, without those that are None."""
    return {name: value for name, value in fields.items() if value is not None}


def changed_record(model: type[RecordT], content: Any, name: str, identity: str) -> RecordT:
    """The record in the response to a call that changed it.

    Some orchestrators only confirm the call; the record then holds little more than its id.
    """
    try:
        return find_record(model, content, name)
    except ApiError:
        fields = content if isinstance(content, dict) else {}
        return find_record(model, fields | {"id": identity}, name)
