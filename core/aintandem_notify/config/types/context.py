"""The validation context: the folder, environment and rule language that the values of a config need."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from pydantic import ValidationInfo


class RuleLanguage(Protocol):
    """Checks the texts of a rule; each method gives the problem as a sentence, None if there is none.

    Implemented in ``rules``, a layer above, so it comes in with the context.
    """

    def event_glob_problem(self, glob: str) -> str | None:
        """Check one entry of ``events``."""
        ...

    def expression_problem(self, text: str) -> str | None:
        """Check a ``when``."""
        ...

    def template_problem(self, text: str) -> str | None:
        """Check a ``title``, ``body``, ``mention`` or ``console_url``."""
        ...


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was deleted; without relative paths nothing needs it
        return Path()


@dataclass(frozen=True, slots=True)
class ValidationContext:
    """The context of a validation: relative paths start at ``base_dir``, ``{ env = … }`` reads from ``environ``.

    ``language`` checks globs, expressions and templates; None accepts all. ``in_python``: the values were written
    in Python, where a number is seconds.
    """

    base_dir: Path = field(default_factory=_working_directory)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    language: RuleLanguage | None = None
    in_python: bool = False

    @classmethod
    def of(cls, info: ValidationInfo[Any]) -> Self:
        """The context of this validation; without one, the working directory and our own environment."""
        context = (info.context or {}).get("config")
        return context if isinstance(context, cls) else cls()


def in_config(info: ValidationInfo[Any]) -> bool:
    """True while a config file is read, False for a model made in Python."""
    context = (info.context or {}).get("config")
    return isinstance(context, ValidationContext) and not context.in_python
