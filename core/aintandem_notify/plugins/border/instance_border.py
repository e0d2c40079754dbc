"""Checks the return values and exceptions of one instance; each error names the instance and the source line."""

from dataclasses import dataclass, field
from typing import Any, Final

from aintandem_notify.plugins.border.error_translation import PluginCodeFailed, translate_error
from aintandem_notify.plugins.border.return_values import InvalidResult, json_object, reject_coroutine
from aintandem_notify.plugins.border.source_files import SourceFiles, with_location

MAX_RECEIPT_BYTES: Final = 16_384
"""Limit of a receipt as JSON. Our choice: one is stored for every run at every destination."""
MAX_DIAGNOSTICS_BYTES: Final = 262_144
"""Limit of diagnostics as JSON. Our choice: people read them."""
_INVALID_RESULT: Final = "invalid result"
"""The ``kind`` of all errors that are about a return value."""


@dataclass(frozen=True, slots=True)
class Border:
    """The border of one instance.

    ``plugin`` names the instance, as ``slack.team``; ``source_files`` define ``plugin_class``.
    """

    plugin: str
    source_files: SourceFiles = field(default_factory=SourceFiles)
    plugin_class: type = object

    def translate_error(self, error: BaseException) -> Exception:
        """Translate an exception of plugin code into one of ours; raises a cancellation of ours unchanged."""
        return translate_error(error, self.plugin, self.source_files)

    def require_awaited(self, hook: str, value: object, *, is_async: bool) -> None:
        """Raises PluginCodeFailed if ``value`` is a coroutine, that is, if an ``await`` is missing."""
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

    def _object(self, hook: str, value: object, max_bytes: int, noun: str) -> dict[str, Any]:
        try:
            return json_object(hook, value, max_bytes, noun)
        except InvalidResult as invalid:
            raise self._invalid_result(hook, invalid) from None

    def _invalid_result(self, hook: str, invalid: InvalidResult) -> PluginCodeFailed:
        location = self.source_files.defined_at(self.plugin_class, hook)
        return PluginCodeFailed(self.plugin, with_location(location, str(invalid)), _INVALID_RESULT)
