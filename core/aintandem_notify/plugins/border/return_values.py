"""What hooks may return: JSON values, kept as a copy of our own."""

import json
from collections.abc import Mapping
from types import CoroutineType
from typing import Any, Final

from pydantic import ConfigDict, JsonValue, TypeAdapter

from aintandem_notify.foundation.untrusted_json import replace_surrogates
from aintandem_notify.log import safe_text
from aintandem_notify.plugins.border.faults import article

_OBJECT: Final = TypeAdapter(dict[str, JsonValue], config=ConfigDict(strict=True, allow_inf_nan=False))


_FACTS: Final = "diagnostics"


class InvalidResult(ValueError):
    """What a hook returned is not what it should; the text says why."""


def reject_coroutine(hook: str, value: object, advice: str) -> None:
    """Raises Junk for a coroutine, which is closed: a missing ``await``."""
    if type(value) is CoroutineType:
        value.close()
        raise InvalidResult(f"{hook} returned a coroutine; {advice}")


def _characters(value: JsonValue) -> int:
    """How many characters its texts have."""
    match value:
        case str():
            return len(value)
        case dict():
            return sum(len(key) + _characters(item) for key, item in value.items())
        case list():
            return sum(map(_characters, value))
        case _:
            return 1


def json_object(hook: str, value: object, most: int, what: str) -> dict[str, Any]:
    """A copy of the object of JSON values that ``value`` is, in ``most`` bytes; raises Junk.

    ``what`` it is called. To look at a mapping of the plugin's own may raise anything. Facts may hold the name of
    a file, whose bytes need be no text and become U+FFFD. A receipt comes back to the plugin, so it is not mended.
    """
    if not issubclass(type(value), Mapping):
        name = safe_text(type.__getattribute__(type(value), "__name__"), 100)
        raise InvalidResult(f"{hook} returned {article(name)}, not a dict of JSON values")
    items = dict(value)  # type: ignore[call-overload]
    try:
        checked = _OBJECT.validate_python(items)
        # Megabytes are not even written out.
        text = "" if _characters(checked) > most else json.dumps(checked, allow_nan=False, ensure_ascii=False)
        if hook == _FACTS:
            text = replace_surrogates(text)  # a path in them may hold bytes that are no text
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError):
        raise InvalidResult(f"{hook} returned a dict that holds more than JSON values") from None
    if not text or size > most:
        raise InvalidResult(f"{hook} returned too much; {what} may have {most} bytes of JSON")
    copy: dict[str, Any] = json.loads(text)
    return copy
