"""Makes the values of a log entry safe: JSON values without secrets, of bounded size.

Part of each entry comes from outside. Log lines are made on the event loop, so a text of megabytes would block
everything else.
"""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, Final

from aintandem_notify.log.error_texts import describe_error, safe_text
from aintandem_notify.log.redaction import (
    REDACTED,
    is_named_secret,
    redact,
    redact_end,
    redact_start,
    redact_values,
    with_unique_keys,
)

MAX_LOGGED_TEXT: Final = 16_384
"""Characters shown of one text; our limit. Holds any sentence and a traceback of a hundred calls."""
MAX_ENTRY_CHARACTERS: Final = 8 * MAX_LOGGED_TEXT
"""Characters of one entry, shared equally by its fields; our limit."""
MAX_FIELDS: Final = 100
"""Fields of one entry, in addition to the keys that every entry has; our limit. We log a dozen at most."""
MAX_KEY_CHARACTERS: Final = 200
"""Characters shown of a field's name."""
_VALUE_COST: Final = 16
"""Characters that each value costs in addition to its text; this bounds the number of values."""
_MAX_DEPTH: Final = 20
"""Levels of nested values that are kept as JSON; deeper ones become text."""
_MAX_NUMBER_BITS: Final = 4096
"""Bits of the largest number that is shown; Python refuses to print some thousand digits."""
OMITTED: Final = "[… more]"
"""Replaces the values that exceed the size of an entry."""

Escape = Callable[[str], str]


def safe_entry(entry: Mapping[str, Any], escape: Escape, own_keys: Container[str]) -> dict[str, Any]:
    """The entry as JSON values: texts and keys are redacted, bounded and passed through ``escape``.

    Keys that become equal are numbered, as in ``redact_values``. The keys in ``own_keys`` stay as they are.
    """
    fields = [key for key in entry if key not in own_keys]
    left_out = frozenset(fields[MAX_FIELDS:])
    share = MAX_ENTRY_CHARACTERS // max(1, min(len(entry), MAX_FIELDS))
    safe = with_unique_keys(
        (
            key if key in own_keys else _BoundedRedactor(escape, MAX_KEY_CHARACTERS).text(key),
            _BoundedRedactor(escape, share).value(value, key, _MAX_DEPTH),
        )
        for key, value in entry.items()
        if key not in left_out
    )
    return safe | {"…": OMITTED} if left_out else safe


def safe_trace(trace: str) -> str:
    """The traceback without secrets; only its beginning and its end if it is long."""
    if len(trace) <= MAX_LOGGED_TEXT:
        return redact(trace)
    half = MAX_LOGGED_TEXT // 2
    return f"{redact_start(trace, half)}\n{_omission(len(trace) - MAX_LOGGED_TEXT)}\n{redact_end(trace, half)}"


class _BoundedRedactor:
    """Makes values safe until their size limit is used up; the remaining ones are left out."""

    def __init__(self, escape: Escape, size: int) -> None:
        self._escape = escape
        self._remaining = size

    def text(self, text: str) -> str:
        length = max(0, min(self._remaining, MAX_LOGGED_TEXT))
        self._remaining -= min(len(text), length) + _VALUE_COST
        if len(text) <= length:
            return self._escape(redact(text))
        return self._escape(redact_start(text, length) + _omission(len(text) - length))

    def value(self, value: Any, key: object, depth: int) -> Any:
        self._remaining -= _VALUE_COST
        match value:
            case str():
                return REDACTED if is_named_secret(key, value) else self.text(value)
            case None | bool():
                return value
            case int() if value.bit_length() > _MAX_NUMBER_BITS:
                return f"[a number of {value.bit_length():,} bits]"
            case float() if not math.isfinite(value):
                return str(value)  # JSON has no infinity and no NaN
            case int() | float():
                return redact_values(value)
            case BaseException():
                return self.text(describe_error(value))
            case Mapping() | Iterable() if depth == 0:
                return self.text(safe_text(value))
            case Mapping():
                return with_unique_keys(self._items(value, depth - 1))
            case Iterable() if not isinstance(value, bytes | bytearray | memoryview):
                return list(self._elements(value, depth - 1))
            case _:
                return self.text(str(value))

    def _items(self, items: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Any]]:
        for key, value in items.items():
            if self._remaining <= 0:
                yield "…", OMITTED
                return
            yield self.text(str(key)), self.value(value, key, depth)

    def _elements(self, values: Iterable[Any], depth: int) -> Iterator[Any]:
        for value in values:
            if self._remaining <= 0:
                yield OMITTED
                return
            yield self.value(value, None, depth)


def _omission(characters: int) -> str:
    return f"[… {characters:,} more characters]"
