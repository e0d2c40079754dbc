"""Makes the events of a step: from their fields in short, or from a whole event as on the wire. Pure."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from aintandem_notify.config.findings import Place, did_you_mean
from aintandem_notify.domain.events import EVENT_TYPES, Event, Family, InvalidFrame, event_from
from aintandem_notify.domain.events.event_types import LOCAL_TYPES
from aintandem_notify.domain.events.record import field_names, record_fields
from aintandem_notify.domain.samples import SAMPLE_FIELDS, sample_event
from aintandem_notify.scenarios.reading.tables import EventStep

NUMBER: Final = "{n}"
"""In texts of a step that repeats its event: the number of the repetition, from 1."""

_NOT_GIVEN: Final = frozenset({"timestamp", "project_id", "caught_up"})
_IDENTITIES: Final[Mapping[Family, tuple[str, tuple[str, ...]]]] = {
    Family.TASK: ("task", ("task_id",)),
    Family.WORKFLOW: ("workflow", ("execution_id", "workflow_id")),
    Family.SANDBOX: ("sandbox", ("sandbox_id",)),
}
"""By family: the key in short that names the run, and the fields that it sets unless they are given."""


class WrongEvent(ValueError):
    """The step has no valid event; ``place`` is the wrong key of the step."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


def events_of(step: EventStep, project_id: str, at: datetime) -> Iterator[tuple[datetime, Event]]:
    """The events of the step and their times. Raises WrongEvent with a sentence."""
    content = _content(step)
    for number in range(1, step.times + 1):
        moment = at + timedelta(seconds=step.every * (number - 1))
        yield moment, _event(_numbered(content, number) if step.times > 1 else content, project_id, moment)


def project_of(step: EventStep) -> str | None:
    """The project's id in the step, or in its whole event; None if neither names it."""
    named = _whole(step).get("projectId") if step.project is None else step.project
    return named if isinstance(named, str) else None


def is_about_agent(step: EventStep) -> bool:
    """True if its event is one of the agent that has no project."""
    event_type = str(_whole(step).get("type", step.event))
    return event_type in LOCAL_TYPES and "projectId" not in SAMPLE_FIELDS[event_type]


def _whole(step: EventStep) -> Mapping[str, Any]:
    """The whole event of the step; empty if it is given in short."""
    if isinstance(step.event, dict):
        return step.event
    if not step.event.startswith("{"):
        return {}
    try:
        content = json.loads(step.event)
    except (ValueError, RecursionError):
        raise WrongEvent(("event",), "is not JSON") from None
    return content if isinstance(content, dict) else {}


def _content(step: EventStep) -> dict[str, Any]:
    """The event as on the wire, without project and time."""
    fields = step.model_extra or {}
    if whole := _whole(step):
        if fields:
            key = next(iter(fields))
            raise WrongEvent((key,), "unknown key; a whole event has its fields inside of it")
        return {**whole, **step.wire}
    event_type = str(step.event)
    model = EVENT_TYPES.get(event_type)
    if model is None:
        hint = did_you_mean(event_type, EVENT_TYPES)
        raise WrongEvent(
            ("event",),
            f"no event type called {event_type}{hint or '; give one of a new type as a whole, { type = … }'}",
        )
    short, targets = _IDENTITIES.get(model.family, ("", ()))
    known = (field_names(model) - _NOT_GIVEN) | ({short} if short else set())
    for key in fields:
        if key not in known:
            raise WrongEvent((key,), f"unknown key of {event_type}{did_you_mean(key, known)}")
    values = dict(fields)
    if short in values:
        identity = values[short] if short in field_names(model) else values.pop(short)
        for target in targets:
            if target in field_names(model):
                values.setdefault(target, identity)
    if targets and targets[0] not in values:
        raise WrongEvent(("event",), f'which {short} is it about? add {short} = "…"')
    return {"type": event_type, **{_wire_name(model, key): value for key, value in values.items()}, **step.wire}


def _wire_name(model: type[Event], name: str) -> str:
    return next(field.names[0] for field in record_fields(model) if field.name == name)


def _event(content: Mapping[str, Any], project_id: str, at: datetime) -> Event:
    event_type = str(content.get("type"))
    if event_type in LOCAL_TYPES:
        return _local_event(event_type, content, project_id, at)
    usual = {"timestamp": at.isoformat(), "projectId": project_id}
    event = event_from({**usual, **_as_json(dict(content))}, project_id, at)
    if isinstance(event, Event):
        return event
    reason = f"{event.flaw}{event.detail and f': {event.detail}'}" if isinstance(event, InvalidFrame) else "ping"
    raise WrongEvent(("event",), f"is no event: {reason}")


def _local_event(event_type: str, content: Mapping[str, Any], project_id: str, at: datetime) -> Event:
    """An event of the agent, with sample values for the fields that are not given."""
    fields = {to_camel(name) if "_" in name else name: value for name, value in content.items() if name != "type"}
    if "projectId" in SAMPLE_FIELDS[event_type]:
        fields.setdefault("projectId", project_id)
    try:
        return sample_event(event_type, timestamp=at, **_as_json(fields))
    except ValidationError:
        raise WrongEvent(("event",), f"is no {event_type}: one of its fields is wrong") from None


def _numbered(value: Any, number: int) -> Any:
    match value:
        case str():
            return value.replace(NUMBER, str(number))
        case dict():
            return {key: _numbered(item, number) for key, item in value.items()}
        case list():
            return [_numbered(item, number) for item in value]
        case _:
            return value


def _as_json(value: Any) -> Any:
    """The value of a TOML document as JSON has it: times are texts."""
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case dict():
            return {key: _as_json(item) for key, item in value.items()}
        case list():
            return [_as_json(item) for item in value]
        case _:
            return value
