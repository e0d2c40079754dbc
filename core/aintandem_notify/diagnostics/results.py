"""How a trial went, for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one thing did; ``detail`` says what was found, or what is wrong."""

    name: str
    is_ok: bool
    detail: str
