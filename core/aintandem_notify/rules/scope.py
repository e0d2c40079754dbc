"""The names that conditions and texts can use: event, run and project, each with its attributes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from aintandem_notify.domain.events import EVENT_TYPES, Event, field_names
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run
from aintandem_notify.rules import formats

Scope = Mapping[str, Any]
"""The values by name."""

_EVENT_FIELDS: Final = frozenset({"type", "family", "run_id"}).union(*map(field_names, EVENT_TYPES.values()))

_RUN_ATTRIBUTES: Final[Mapping[str, Callable[[Run], Any]]] = {
    "id": lambda run: run.id,
    "name": lambda run: run.name,
    "kind": lambda run: run.kind,
    "duration": lambda run: run.duration,
    "attempt": lambda run: run.attempt,
    "state": lambda run: run.state,
    "step": lambda run: run.step,
    "progress": lambda run: run.progress,
    "output_tail": lambda run: run.output_tail,
}
_PROJECT_ATTRIBUTES: Final[Mapping[str, Callable[[Project], Any]]] = {
    "id": lambda project: project.id,
    "name": lambda project: project.name,
}

NAMES: Final[Mapping[str, frozenset[str]]] = {
    "event": _EVENT_FIELDS | {"wire"},
    "run": frozenset(_RUN_ATTRIBUTES),
    "project": frozenset(_PROJECT_ATTRIBUTES),
}
"""Every name with its attributes; ``event.wire`` is the event as it came, with all its fields."""


class _EventView:
    """An event by its fields' names, extra wire fields included; fields of other types are None."""

    __slots__ = ("_event",)

    def __init__(self, event: Event) -> None:
        self._event = event

    def __getitem__(self, name: str) -> Any:
        if name == "wire":
            return self._event.wire()
        if name in _EVENT_FIELDS:
            return getattr(self._event, name, None)
        return self._event.model_extra.get(name)

    def __str__(self) -> str:
        return formats.as_text(self._event.wire())


class _AttributesView:
    """A run or a project by its attributes; all are None if there is no run or project."""

    __slots__ = ("_attributes", "_source")

    def __init__(self, source: Any, attributes: Mapping[str, Callable[[Any], Any]]) -> None:
        self._source = source
        self._attributes = attributes

    def __getitem__(self, name: str) -> Any:
        read = self._attributes.get(name)
        return None if read is None or self._source is None else read(self._source)

    def __str__(self) -> str:
        return formats.as_text(self["name"])


def scope(event: Event, run: Run | None, project: Project | None) -> Scope:
    """The names for one event. ``run`` and ``project`` always have their attributes, None if there is none."""
    return {
        "event": _EventView(event),
        "run": _AttributesView(run, _RUN_ATTRIBUTES),
        "project": _AttributesView(project, _PROJECT_ATTRIBUTES),
    }
