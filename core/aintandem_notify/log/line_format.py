"""How an entry of the log is laid out: for people at a terminal, or as JSON. Pure; the texts are safe already."""

import json
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from aintandem_notify.foundation.printable import escape_json

OWN_LOGGERS: Final = ("aintandem_notify", "agent")
"""Loggers that people need not read of: what they say tells enough. Libraries are named."""

_HEAD: Final = ("timestamp", "level", "event")
_TAIL: Final = ("logger", "exception")
OWN_KEYS: Final = frozenset({*_HEAD, *_TAIL, "logger_name"})
"""The keys that every entry has from us."""
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
_LEVELS: Final[Mapping[str, str]] = {
    "warning": "\x1b[33m",
    "error": "\x1b[1;31m",
    "critical": "\x1b[1;31m",
}
"""Colours of the terminal's own palette; levels without one are dim as a whole, beside what matters more."""


def ordered_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """When, how bad and what first, then the facts, and who said it last."""
    if "logger_name" in entry:  # structlog leaves us no other name to bind it by
        entry = {**entry, "logger": entry["logger_name"]}
    names = [*_HEAD, *(name for name in entry if name not in OWN_KEYS), *_TAIL]
    return {name: entry[name] for name in names if name in entry}


def json_line(entry: Mapping[str, Any]) -> str:
    """One JSON object; read, its texts are what they were, and shown, they do no harm."""
    return escape_json(json.dumps(ordered_entry(entry), ensure_ascii=False))


def text_line(entry: MutableMapping[str, Any], *, colours: bool) -> str:
    """``12:00:00 warning  disconnected  project=project-123 code=1006``, then the traceback if there is one."""
    facts = ordered_entry(entry)
    time, level, event = (facts.pop(name, "") for name in _HEAD)
    trace = facts.pop("exception", None)
    if str(facts.get("logger", "")).split(".")[0] in OWN_LOGGERS:
        del facts["logger"]
    message = f"{event}  {' '.join(f'{name}={_value(value)}' for name, value in facts.items())}".rstrip()
    if not colours:
        line = f"{time} {level:<8} {message}"
    elif (colour := _LEVELS.get(level)) is None:
        line = f"{_DIM}{time} {level:<8} {message}{_RESET}"
    else:
        line = f"{_DIM}{time}{_RESET} {colour}{level:<8}{_RESET} {message}"
    return line if trace is None else f"{line}\n{trace}"


def _value(value: Any) -> str:
    """As it is if it is one word, else in quotes; what is no text as JSON."""
    if isinstance(value, str) and value and not any(character in value for character in " \"'="):
        return value
    return json.dumps(value, ensure_ascii=False)
