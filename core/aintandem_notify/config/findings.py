"""A mistake in a config (``Finding``), and functions for its message: places, types of values, similar names.

``load`` adds the line and makes a public ``Problem`` of it.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Final

Place = tuple[str | int, ...]
"""Keys and list positions from the top of the document."""

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake at a place of the document."""

    place: Place
    message: str

    @property
    def key(self) -> str:
        """The place as a dotted key: ``plugins.slack.team.url``, ``rules[0].notify``."""
        return dotted(self.place)


def dotted(place: Place) -> str:
    """``place`` as ``rules[0].notify``; keys that are not bare are quoted."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else json.dumps(part[:80]))
    return text


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The most similar of ``names``, ignoring case; None if none is similar."""
    lowered = {candidate.lower(): candidate for candidate in names}
    matches = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[matches[0]] if matches else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The hint ``"; did you mean slack?"``; empty if no name is similar."""
    candidate = nearest(name, names)
    return f"; did you mean {candidate}?" if candidate else ""


def toml_type(value: object) -> str:
    """The type of a TOML value in words. Contains no value except true and false."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case datetime() | date() | time():
            return "a date or time"
        case _:
            return "this"
