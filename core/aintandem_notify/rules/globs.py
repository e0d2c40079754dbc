"""Matches event types and projects against globs. Known types are resolved once, when the config is loaded."""

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase, translate
from typing import Final

from aintandem_notify.config.findings import did_you_mean
from aintandem_notify.domain.events import EVENT_TYPES, WIRE_FAMILIES, Event, Family
from aintandem_notify.domain.notification import Project

_WILDCARDS: Final = frozenset("*?[")
_FAMILIES: Final = tuple(str(family) for family in Family)
_UNKNOWN_PREFIX: Final = f"{Family.UNKNOWN}/"

_PATHS: Final = {name: f"{model.family}/{name}" for name, model in EVENT_TYPES.items()}
_WIRE_TYPES: Final = frozenset(name for name, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES)


def matching_types(glob: str) -> frozenset[str]:
    """The known types that ``glob`` matches.

    Without ``/`` it is matched against the type, with ``/`` against ``family/type``. A glob that begins with a
    wildcard matches task, workflow and sandbox events only: connection and agent events must be named.
    """
    candidates = _WIRE_TYPES if glob[:1] in _WILDCARDS else EVENT_TYPES
    if "/" in glob:
        return frozenset(name for name in candidates if fnmatchcase(_PATHS[name], glob))
    return frozenset(name for name in candidates if fnmatchcase(name, glob))


def is_for_unknown(glob: str) -> bool:
    """True if ``glob`` is for types that this version does not know: it begins with ``unknown/``."""
    return glob.startswith(_UNKNOWN_PREFIX)


def matches_unknown(glob: str, event_type: str) -> bool:
    """True if ``glob`` matches the unknown ``event_type``."""
    return is_for_unknown(glob) and fnmatchcase(_UNKNOWN_PREFIX + event_type, glob)


def glob_problem(glob: str) -> str | None:
    """The problem with an entry of ``events``, as a sentence; None if it is fine."""
    if not glob:
        return "should not be empty"
    # If the last bracket is closed, after at least one character, all brackets before it are closed too.
    if (last := glob.rfind("[")) >= 0 and "]" not in glob[last + 2 :]:
        return "the [ in it is not closed"
    if is_for_unknown(glob):
        return (
            None if len(glob) > len(_UNKNOWN_PREFIX) else "should name a type after the slash; unknown/* means all"
        )
    if matching_types(glob):
        return None
    if "/" in glob:
        return _path_problem(glob)
    if not _WILDCARDS.isdisjoint(glob):
        example = next((path for name, path in _PATHS.items() if fnmatchcase(name, glob)), None)
        hint = f"; events of the family {example.split('/')[0]} must be named, as {example}" if example else ""
        return f"no event type matches {glob}{hint or did_you_mean(glob, EVENT_TYPES)}"
    if glob in _FAMILIES:
        return f"no event type called {glob}; did you mean {glob}/*?"
    return f"no event type called {glob}{did_you_mean(glob, EVENT_TYPES)}"


def _path_problem(glob: str) -> str:
    family, _, name = glob.partition("/")
    if _WILDCARDS.isdisjoint(family) and family not in _FAMILIES:
        return f"no family of events called {family}{did_you_mean(family, _FAMILIES)}"
    if _WILDCARDS.isdisjoint(name) and name in EVENT_TYPES:
        return f"no event type called {glob}; did you mean {_PATHS[name]}?"
    return f"no event type matches {glob}{did_you_mean(glob, _PATHS.values())}"


def project_matcher(globs: Sequence[str] | None) -> Callable[[Project | None], bool]:
    """Returns a function that is true if a project's id or name matches a glob.

    With ``globs`` None it is always true, also without a project.
    """
    if globs is None:
        return lambda _project: True
    pattern = re.compile("|".join(translate(glob) for glob in globs))
    return lambda project: project is not None and bool(pattern.match(project.id) or pattern.match(project.name))


def is_named(text: str, names: Iterable[str | None]) -> bool:
    """True if one of ``names`` is ``text``, or matches it as a glob. Names that are None match nothing."""
    pattern = re.compile(translate(text))
    return any(name is not None and (name == text or bool(pattern.match(name))) for name in names)


class EventFilter:
    """Selects the events that a plugin without ``deliver`` sees, by its ``events`` and ``projects``.

    None selects all.
    """

    def __init__(self, events: Iterable[str] | None, projects: Sequence[str] | None) -> None:
        globs = None if events is None else tuple(events)
        self._types = None if globs is None else frozenset[str]().union(*map(matching_types, globs))
        self._unknown = () if globs is None else tuple(filter(is_for_unknown, globs))
        self._matches_project = project_matcher(projects)

    def matches(self, event: Event, project: Project | None) -> bool:
        """True if ``event`` passes the filter; ``project`` is its project, if it has one."""
        return self._matches_type(event) and self._matches_project(project)

    def _matches_type(self, event: Event) -> bool:
        if self._types is None:
            return True
        if event.family is Family.UNKNOWN:  # even if its type has the name of one of our own events
            return any(matches_unknown(glob, event.type) for glob in self._unknown)
        return event.type in self._types
