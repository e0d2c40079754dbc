"""The result of one check, for people."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result for the store, the orchestrator, one project or one instance.

    ``detail`` describes the result or the problem. If ``is_tried`` is false, nothing is known: ``is_ok`` is true
    then, because no problem was found.
    """

    name: str
    is_ok: bool
    detail: str
    is_tried: bool = True

    @property
    def word(self) -> str:
        """The answer to the question whether it works: yes, NO, or a dash if it was not tried."""
        if not self.is_tried:
            return "-"
        return "yes" if self.is_ok else "NO"


Report = Callable[[CheckResult], None]
"""Gets each result as soon as it is known."""
