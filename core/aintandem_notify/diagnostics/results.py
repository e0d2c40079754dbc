"""The result of one check, for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result for the orchestrator or one instance. ``detail`` describes the result or the problem."""

    name: str
    is_ok: bool
    detail: str
