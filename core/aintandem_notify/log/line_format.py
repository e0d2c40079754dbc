"""Formats a log entry as one line: text for people at a terminal, or JSON. Pure; its texts are safe already."""

import json
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from aintandem_notify.foundation.printable import escape_json

OWN_LOGGERS: Final = ("aintandem_notify", "agent")
"""Loggers whose name a text line leaves out. Only libraries are named."""

_HEAD: Final = ("timestamp", "level", "event")
_TAIL: Final = ("logger", "exception")
OWN_KEYS: Final = frozenset({*_HEAD, *_TAIL, "logger_name"})
"""The keys that we put into every entry."""
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
_LEVELS: Final[Mapping[str, str]] = {
    "warning": "\x1b[33m",
    "error": "\x1b[1;31m",
    "critical": "\x1b[1;31m",
}
"""Colours of the terminal's palette. A line of another level is dim, so that these stand out."""


def ordered_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with time, level and event first, then its fields, and logger and traceback last."""
    if "logger_name" in entry:  # structlog reserves the name ``logger``
        entry = {**entry, "logger": entry["logger_name"]}
    names = [*_HEAD, *(name for name in entry if name not in OWN_KEYS), *_TAIL]
    return {name: entry[name] for name in names if name in entry}


def json_line(entry: Mapping[str, Any]) -> str:
    """One JSON object. Parsing it gives the exact texts; showing it on a terminal does no harm."""
    return escape_json(json.dumps(ordered_entry(entry), ensure_ascii=False))


def text_line(entry: MutableMapping[str, Any], *, colours: bool) -> str:
    """``12:00:00 warning  disconnected  project=project-123 code=1006``, then the traceback if there is one."""
    fields = ordered_entry(entry)
    time, level, event = (fields.pop(name, "") for name in _HEAD)
    trace = fields.pop("exception", None)
    if str(fields.get("logger", "")).split(".")[0] in OWN_LOGGERS:
        del fields["logger"]
    message = f"{event}  {' '.join(f'{name}={_value(value)}' for name, value in fields.items())}".rstrip()
    if not colours:
        line = f"{time} {level:<8} {message}"
    elif (colour := _LEVELS.get(level)) is None:
        line = f"{_DIM}{time} {level:<8} {message}{_RESET}"
    else:
        line = f"{_DIM}{time}{_RESET} {colour}{level:<8}{_RESET} {message}"
    return line if trace is None else f"{line}\n{trace}"


def _value(value: Any) -> str:
    """One word as it is, other texts in quotes, other values as JSON."""
    if isinstance(value, str) and value and not any(character in value for character in " \"'="):
        return value
    return json.dumps(value, ensure_ascii=False)
