"""One instance's way over the border: what its hooks return and raise, with who and where in every fault."""

from dataclasses import dataclass, field
from typing import Any, Final

from aintandem_notify.plugins.border.faults import PluginCodeFailed, fault_of
from aintandem_notify.plugins.border.return_values import InvalidResult, json_object, reject_coroutine
from aintandem_notify.plugins.border.source_files import SourceFiles, with_location

MAX_RECEIPT_BYTES: Final = 16_384
"""The most that a receipt may take as JSON; ours, since one is kept for every run at every destination."""
MAX_DIAGNOSTICS_BYTES: Final = 262_144
"""The most that diagnostics may take as JSON; ours, since people read them."""
_JUNK: Final = "junk"
"""The kind of all faults that are something returned."""


@dataclass(frozen=True, slots=True)
class Border:
    """``plugin`` names the instance, as ``slack.team``; ``source_files`` define ``plugin_class``."""

    plugin: str
    source_files: SourceFiles = field(default_factory=SourceFiles)
    plugin_class: type = object

    def fault(self, error: BaseException) -> Exception:
        """What plugin code raised, as one exception of ours; raises a cancellation of ours."""
        return fault_of(error, self.plugin, self.source_files)

    def nothing(self, hook: str, value: object, *, is_async: bool) -> None:
        """What a hook that returns nothing has returned; raises Raised for a missing ``await``."""
        advice = "await it in there" if is_async else "write it as async def"
        try:
            reject_coroutine(hook, value, advice)
        except InvalidResult as junk:
            raise self._junk(hook, junk) from None

    def receipt(self, value: object) -> dict[str, Any] | None:
        """The receipt in what ``deliver`` returned; raises Raised for what cannot be kept."""
        return None if value is None else self._object("deliver", value, MAX_RECEIPT_BYTES, "a receipt")

    def facts(self, value: object) -> dict[str, Any]:
        """The facts that ``diagnostics`` returned; raises Raised for what is no JSON object."""
        return self._object("diagnostics", value, MAX_DIAGNOSTICS_BYTES, "they")

    def _object(self, hook: str, value: object, most: int, what: str) -> dict[str, Any]:
        try:
            return json_object(hook, value, most, what)
        except InvalidResult as junk:
            raise self._junk(hook, junk) from None

    def _junk(self, hook: str, junk: InvalidResult) -> PluginCodeFailed:
        return PluginCodeFailed(
            self.plugin, with_location(self.source_files.defined_at(self.plugin_class, hook), str(junk)), _JUNK
        )
