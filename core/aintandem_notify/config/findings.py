"""What is found to be wrong with a config, and the words for it: places, kinds of values, near names."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Final

Place = tuple[str | int, ...]
"""Keys and list positions from the top of the document."""

TOP_LEVEL_KEYS: Final = (
    "plugins_dir",
    "orchestrator",
    "projects",
    "plugins",
    "rules",
    "connection",
    "store",
    "delivery",
    "agent",
    "control",
    "log",
)
"""The keys that a document may have."""

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong at a place of the document."""

    place: Place
    message: str

    @property
    def key(self) -> str:
        """The place as people write it: ``plugins.slack.team.url``, ``rules[0].notify``."""
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
    """The one of ``names`` that was probably meant, None if nothing is like it."""
    lowered = {candidate.lower(): candidate for candidate in names}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``"; did you mean slack?"``, or nothing if no name is near."""
    found = nearest(name, names)
    return f"; did you mean {found}?" if found else ""


def toml_type(value: object) -> str:
    """What kind of TOML value it is, in words; of the value itself only true and false are told."""
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
