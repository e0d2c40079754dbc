"""Checks the return values and exceptions of one instance; each error names the instance and the source line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import CoroutineType
from typing import Any, Final

from pydantic import ConfigDict, JsonValue, TypeAdapter

from aintandem_notify import log
from aintandem_notify.foundation.untrusted_json import replace_surrogates
from aintandem_notify.log import safe_text
from aintandem_notify.plugins.border.error_translation import (
    PluginCodeFailed,
    article,
    is_from_plugin,
    translate_error,
    way_to,
)
from aintandem_notify.plugins.border.missing_await import WatchedCall
from aintandem_notify.plugins.border.source_files import SourceFiles, with_location

MAX_RECEIPT_BYTES: Final = 16_384
"""Limit of a receipt as JSON. Our choice: one is stored for every run at every destination."""
MAX_DIAGNOSTICS_BYTES: Final = 262_144
"""Limit of diagnostics as JSON. Our choice: people read them."""
_MISSING_AWAIT: Final = "missing await"
"""The ``kind`` of all errors about a missing ``await``."""
_INVALID_RESULT: Final = "invalid result"
"""The ``kind`` of all errors that are about a return value."""


_log = log.get_logger(__name__)


class InvalidResult(ValueError):
    """A hook returned something that it must not; the text says why."""


@dataclass(frozen=True, slots=True)
class Border:
    """The border of one instance.

    ``plugin`` names the instance, as ``slack.team``; ``source_files`` define ``plugin_class``.
    """

    plugin: str
    source_files: SourceFiles = field(default_factory=SourceFiles)
    plugin_class: type = object

    def translate_error(self, error: BaseException, hook: str | None = None) -> Exception:
        """Translate an exception of plugin code into one of ours; raises a cancellation of ours unchanged.

        The text names the plugin's line; the traceback is logged at the level "debug".
        """
        translated = translate_error(error, self.plugin, partial(self._location, error, hook))
        if is_from_plugin(error):
            _log.debug("a plugin raised an exception", plugin=self.plugin, hook=hook, exc_info=error)
        return translated

    def line_of(self, error: BaseException) -> str:
        """The plugin's innermost line in the traceback, to follow a text: ``, in plugins/beep.py:7``; or ""."""
        line = self.source_files.line_in(error)
        return line and f", in {line}"

    def watch(self) -> WatchedCall:
        """The record of one call of a hook, in which a missing ``await`` is noticed."""
        return WatchedCall(self.source_files)

    def require_awaited(self, hook: str, value: object, call: WatchedCall, *, is_async: bool) -> None:
        """Raises PluginCodeFailed if ``value`` is a coroutine, or if the call made one that nobody awaited."""
        if call.unawaited is not None:
            text = call.unawaited if is_async else f"{call.unawaited}; write {hook} as async def"
            raise PluginCodeFailed(self.plugin, text, _MISSING_AWAIT)
        advice = "await it in the hook" if is_async else "write it as async def"
        try:
            reject_coroutine(hook, value, advice)
        except InvalidResult as invalid:
            raise self._invalid_result(hook, invalid) from None

    def receipt(self, value: object) -> dict[str, Any] | None:
        """A copy of the receipt that ``deliver`` returned; raises PluginCodeFailed if it cannot be stored."""
        return None if value is None else self._object("deliver", value, MAX_RECEIPT_BYTES, "a receipt")

    def diagnostics(self, value: object) -> dict[str, Any]:
        """A copy of the result of ``diagnostics``; raises PluginCodeFailed if it is no JSON object."""
        return self._object("diagnostics", value, MAX_DIAGNOSTICS_BYTES, "diagnostics")

    def _location(self, error: BaseException, hook: str | None, leaf: BaseException) -> str:
        """The line that raised ``leaf``, or the group that it is in; that of the hook if only others' code did."""
        lines = map(self.source_files.line_in, way_to(leaf, error))
        if (line := next(filter(None, lines), "")) or hook is None:
            return line or self.source_files.raised_at(leaf)
        return self.source_files.defined_at(self.plugin_class, hook)

    def _object(self, hook: str, value: object, max_bytes: int, noun: str) -> dict[str, Any]:
        try:
            return json_object(hook, value, max_bytes, noun)
        except InvalidResult as invalid:
            raise self._invalid_result(hook, invalid) from None

    def _invalid_result(self, hook: str, invalid: InvalidResult) -> PluginCodeFailed:
        location = self.source_files.defined_at(self.plugin_class, hook)
        return PluginCodeFailed(self.plugin, with_location(location, str(invalid)), _INVALID_RESULT)


_OBJECT: Final = TypeAdapter(dict[str, JsonValue], config=ConfigDict(strict=True, allow_inf_nan=False))
_DIAGNOSTICS: Final = "diagnostics"


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
