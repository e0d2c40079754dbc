"""Where a config stands: what its values need to know beyond themselves."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from pydantic import ValidationInfo


class RuleLanguage(Protocol):
    """Says what is wrong with the texts of a rule; None for what is fine.

    Implemented above this row, so it comes in with the context.
    """

    def event_glob_problem(self, glob: str) -> str | None:
        """For one entry of ``events``."""
        ...

    def expression_problem(self, text: str) -> str | None:
        """For ``when``."""
        ...

    def template_problem(self, text: str) -> str | None:
        """For ``title``, ``body`` and ``console_url``."""
        ...


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed; whoever names no relative path needs none
        return Path()


@dataclass(frozen=True, slots=True)
class ValidationContext:
    """Where a config stands: relative paths start at ``base_dir``, ``{ env = … }`` looks into ``environ``.

    ``language`` checks globs, expressions and templates; None takes them as they are. ``in_python``: what is read
    was written in Python, where a number is seconds.
    """

    base_dir: Path = field(default_factory=_working_directory)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    language: RuleLanguage | None = None
    in_python: bool = False

    @classmethod
    def of(cls, info: ValidationInfo[Any]) -> Self:
        """The context of the validation at hand; the working directory and our environment if none."""
        found = (info.context or {}).get("config")
        return found if isinstance(found, cls) else cls()


def in_config(info: ValidationInfo[Any]) -> bool:
    """Whether a config file is being read, as opposed to a model made in Python."""
    context = (info.context or {}).get("config")
    return isinstance(context, ValidationContext) and not context.in_python
