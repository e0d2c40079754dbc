"""Checks and copies the JSON values that hooks return."""

import json
from collections.abc import Mapping
from types import CoroutineType
from typing import Any, Final

from pydantic import ConfigDict, JsonValue, TypeAdapter

from aintandem_notify.foundation.untrusted_json import replace_surrogates
from aintandem_notify.log import safe_text
from aintandem_notify.plugins.border.error_translation import article

_OBJECT: Final = TypeAdapter(dict[str, JsonValue], config=ConfigDict(strict=True, allow_inf_nan=False))
_DIAGNOSTICS: Final = "diagnostics"


class InvalidResult(ValueError):
    """A hook returned something that it must not; the text says why."""


def reject_coroutine(hook: str, value: object, advice: str) -> None:
    """Close a coroutine and raise InvalidResult: an ``await`` is missing."""
    if type(value) is CoroutineType:
        value.close()
        raise InvalidResult(f"{hook} returned a coroutine; {advice}")


def _text_length(value: JsonValue) -> int:
    """The characters of all texts in ``value``; other values count 1 each."""
    match value:
        case str():
            return len(value)
        case dict():
            return sum(len(key) + _text_length(item) for key, item in value.items())
        case list():
            return sum(map(_text_length, value))
        case _:
            return 1


def json_object(hook: str, value: object, max_bytes: int, noun: str) -> dict[str, Any]:
    """A copy of the JSON object ``value``; raises InvalidResult if it is none, or has over ``max_bytes`` as JSON.

    ``noun`` is its name in the error. Reading a mapping of the plugin's own class may raise anything. Diagnostics
    may hold a file name with bytes that are not UTF-8; these become U+FFFD. A receipt is handed back to the
    plugin, so it is never changed.
    """
    if not issubclass(type(value), Mapping):
        name = safe_text(type.__getattribute__(type(value), "__name__"), 100)
        raise InvalidResult(f"{hook} returned {article(name)}, not a dict of JSON values")
    items = dict(value)  # type: ignore[call-overload]
    try:
        checked = _OBJECT.validate_python(items)
        # A value of megabytes is refused before it is serialized.
        is_huge = _text_length(checked) > max_bytes
        text = "" if is_huge else json.dumps(checked, allow_nan=False, ensure_ascii=False)
        if hook == _DIAGNOSTICS:
            text = replace_surrogates(text)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError):
        raise InvalidResult(f"{hook} returned a dict with keys or values that are not JSON") from None
    if not text or size > max_bytes:
        raise InvalidResult(f"{hook} returned too much; {noun} may have at most {max_bytes} bytes of JSON")
    copy: dict[str, Any] = json.loads(text)
    return copy
