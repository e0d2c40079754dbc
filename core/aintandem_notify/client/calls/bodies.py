"""What goes into the body of a call, and what is made of an answer that says less than it should."""

from typing import Any, TypeVar

from aintandem_notify.errors import ApiError
from aintandem_notify.orchestrator.rest.client import find_record
from aintandem_notify.orchestrator.rest.records import Record

RecordT = TypeVar("RecordT", bound=Record)


def without_none(**fields: object) -> dict[str, object]:
    """The fields of a body that are given."""
    return {name: value for name, value in fields.items() if value is not None}


def changed_record(model: type[RecordT], content: Any, name: str, identity: str) -> RecordT:
    """The record in the answer to a call that changes it; some orchestrators say no more than that it is done."""
    try:
        return find_record(model, content, name)
    except ApiError:
        fields = content if isinstance(content, dict) else {}
        return find_record(model, fields | {"id": identity}, name)
