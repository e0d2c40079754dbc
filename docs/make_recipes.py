"""Puts the configs of the recipes into their page.

    python docs/make_recipes.py

Each recipe is a scenario file in ``docs/recipes``, for ``aintandem-notify rules test``. Writes the parts
of ``docs/recipes.md`` between ``<!-- begin NAME -->`` and ``<!-- end -->``. ``tests/repository/test_recipes.py``
fails if the page is out of date.
"""

import re
import sys
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parent
FOLDER: Final = DOCS / "recipes"
PAGE: Final = DOCS / "recipes.md"

_PART: Final = re.compile(r"(<!-- begin ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_HEADER: Final = re.compile(r"^(\[\[?)config\.", re.MULTILINE)
_CONFIG: Final = re.compile(r"^\[\[?config\b.*?(?=^# The destinations|^\[\[steps)", re.DOTALL | re.MULTILINE)


def config_of(scenario: str) -> str:
    """The config in the text of a scenario as people write it into their own file, without the destinations."""
    match = _CONFIG.search(scenario)
    return "" if match is None else _HEADER.sub(r"\1", match[0]).strip()


def make(page: str) -> str:
    """The page with the configs of the files."""

    def part(match: re.Match[str]) -> str:
        name = match[2]
        config = config_of((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
        return f"{match[1]}```toml\n{config}\n```\n\n[The scenario](recipes/{name}.toml)\n{match[3]}"

    return _PART.sub(part, page)


def names(page: str) -> list[str]:
    """The recipes of the page, in their order."""
    return [match[2] for match in _PART.finditer(page)]


if __name__ == "__main__":
    PAGE.write_text(make(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
