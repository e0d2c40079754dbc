"""Checks the return values and exceptions of one instance; each error names the instance and the source line."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from aintandem_notify import log
from aintandem_notify.plugins.border.error_translation import (
    PluginCodeFailed,
    is_from_plugin,
    translate_error,
    way_to,
)
from aintandem_notify.plugins.border.missing_await import WatchedCall
from aintandem_notify.plugins.border.return_values import InvalidResult, json_object, reject_coroutine
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
