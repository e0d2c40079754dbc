"""What ``deliver`` and ``diagnostics`` may return: JSON values, kept as a copy of our own."""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ConfigDict, JsonValue, TypeAdapter

from aintandem_notify.errors import PluginError

MAX_BYTES: Final = 16_384
"""The most that a receipt may take as JSON; ours, since one is kept for every run at every destination."""

_OBJECT: Final = TypeAdapter(dict[str, JsonValue], config=ConfigDict(strict=True, allow_inf_nan=False))


def read_receipt(plugin: str, value: object) -> dict[str, Any] | None:
    """The receipt in what ``deliver`` returned; raises PluginError for what cannot be kept."""
    return None if value is None else _read(plugin, "deliver", value, MAX_BYTES)


def read_diagnostics(plugin: str, value: object) -> dict[str, Any]:
    """The facts that ``diagnostics`` returned; raises PluginError for what is no JSON object."""
    return _read(plugin, "diagnostics", value, None)


def _read(plugin: str, hook: str, value: object, most: int | None) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise PluginError(plugin, f"{hook} returned {_article(type(value).__name__)}, not a dict of JSON values")
    try:
        text = json.dumps(_OBJECT.validate_python(dict(value)), allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError):
        raise PluginError(plugin, f"{hook} returned a dict that holds more than JSON values") from None
    if most is not None and size > most:
        raise PluginError(plugin, f"{hook} returned {size} bytes of JSON; a receipt may have {most}")
    copy: dict[str, Any] = json.loads(text)
    return copy


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"
