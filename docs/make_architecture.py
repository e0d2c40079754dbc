"""Makes the parts of the architecture pages that follow from the code: the picture, the ways, the module tables.

    python docs/make_architecture.py

Reads the layers in ``pyproject.toml``, the folders of the package, the first line of each module, and the ways in
``docs/architecture_ways.toml``. Writes ``docs/architecture.svg``, and in ``docs/architecture.md`` and
``docs/architecture/*.md`` the parts between ``<!-- begin … -->`` and ``<!-- end … -->``.
``tests/repository/test_architecture.py`` fails if they are out of date.
"""

import ast
import importlib
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from html import escape
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
PACKAGE: Final = ROOT / "core" / "aintandem_notify"
PICTURE: Final = DOCS / "architecture.svg"
OVERVIEW: Final = DOCS / "architecture.md"
PLUGIN_PREFIX: Final = "aintandem_notify_"
ROWS_CONTRACT: Final = "Rows of the framework"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a way.

    ``place`` is ``module:name``; the name must exist. The module is relative to the package, or one of a plugin.
    """

    place: str
    text: str

    @property
    def module(self) -> str:
        """The dotted module as in ``place``."""
        return self.place.partition(":")[0]

    @property
    def path(self) -> str:
        """The module as people look for it: ``delivery/worker``, ``plugins/slack/verdict``."""
        path = self.module.replace(".", "/")
        return path.replace(PLUGIN_PREFIX, "plugins/") if path.startswith(PLUGIN_PREFIX) else path

    @property
    def rooms(self) -> list[str]:
        """The box in the picture, and the parts inside of it."""
        if self.module.startswith(PLUGIN_PREFIX):
            return ["plugins/", *self.module.removeprefix(PLUGIN_PREFIX).split(".")]
        return self.module.split(".")

    @property
    def name(self) -> str:
        """The function, method or class in the module."""
        return self.place.partition(":")[2]

    def check(self) -> None:
        """Raises AttributeError or ImportError if the place does not exist."""
        name = self.module if self.module.startswith(PLUGIN_PREFIX) else f"aintandem_notify.{self.module}"
        module = importlib.import_module(name)
        reduce(getattr, self.name.split("."), module)


WAYS: Final = {
    way: tuple(Step(**step) for step in steps)
    for way, steps in tomllib.loads((DOCS / "architecture_ways.toml").read_text(encoding="utf-8")).items()
}
"""The ways by the name of their mark on the page."""
EVENT: Final = WAYS["event"]
"""The way in the picture."""


def rows() -> list[list[str]]:
    """The rows of the framework, from the top down, as ``pyproject.toml`` has them."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    contracts = {contract["name"]: contract for contract in tool["importlinter"]["contracts"]}
    return [row.split(" : ") for row in contracts[ROWS_CONTRACT]["layers"]]


def purpose(path: Path) -> str:
    """The first sentence of a module's docstring, or of a package's."""
    source = path / "__init__.py" if path.is_dir() else path
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ").replace("``", "`").rstrip(".")


def packages() -> list[Path]:
    """The packages at the top, in the order of their names."""
    return sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))


def rooms_of(package: Path) -> list[Path]:
    """The packages inside of a package, in the order of their names."""
    return sorted(path.parent for path in package.glob("*/__init__.py"))


def path_of(name: str) -> Path:
    """The folder or the file of a name in a row."""
    return PACKAGE / name if (PACKAGE / name).is_dir() else PACKAGE / f"{name}.py"


# The picture.

WIDTH: Final = 1180
MARGIN: Final = 20
GAP: Final = 10
LINE: Final = 17
CHIP: Final = 24
CHARACTER: Final = 7.4
BADGE: Final = 10
STYLE: Final = """
text { font-family: system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; font-size: 13px; fill: #1f2933 }
.name { font-weight: 600; font-size: 15px }
.chip text { font-size: 12px; font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace }
.number { fill: #fff; font-weight: 700; font-size: 11px; text-anchor: middle }
.place { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 12px; font-weight: 600 }
.band { fill: #f4f6f8 }
.room { fill: #fff; stroke: #9aa5b1 }
.chip rect { fill: #e4ecf7; stroke: #b5c7e3 }
.badge { fill: #c2410c }
.way { fill: none; stroke: #c2410c; stroke-width: 2; stroke-opacity: .35; stroke-linejoin: round }
"""


@dataclass(frozen=True, slots=True)
class Room:
    """A box in the picture: its place, its lines of text and its chips with their places."""

    name: str
    x: float
    y: float
    width: float
    lines: tuple[str, ...]
    chips: tuple[tuple[str, float, float], ...]

    @property
    def height(self) -> float:
        """In pixels; the chips stand below the text."""
        text = 26 + LINE * len(self.lines) + 8
        return text + (max(y for _, _, y in self.chips) - self.y - text + CHIP + 10 if self.chips else 2)


def room_at(name: str, text: str, chips: list[str], x: float, y: float, width: float) -> Room:
    """A box whose text and chips are laid out to ``width`` pixels."""
    lines = tuple(textwrap.wrap(text.replace("`", ""), max(20, int(width / 7.3))))
    chip_x, chip_y = x + 10, y + 26 + LINE * len(lines) + 8
    placed = []
    for chip in chips:
        chip_width = _chip_width(name, chip)
        if chip_x + chip_width > x + width - 8:
            chip_x, chip_y = x + 10, chip_y + CHIP + 6
        placed.append((chip, chip_x, chip_y))
        chip_x += chip_width + 8
    return Room(name, x, y, width, lines, tuple(placed))


def _chip_width(room: str, chip: str) -> float:
    """In pixels, with space for the badges on it."""
    badges = sum(step.rooms[:2] == [room, chip] for step in EVENT)
    return CHARACTER * len(chip) + 16 + (2 * BADGE + 2) * badges


def laid_out() -> Iterator[tuple[float, float, list[Room]]]:
    """Each row of rooms with its top and its height."""
    y = float(MARGIN)
    plugins = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "README.md").is_file())
    shelf = room_at(
        "plugins/",
        "The plugins in this repository. They import only api",
        plugins,
        MARGIN + 8,
        y + 8,
        WIDTH - 2 * MARGIN - 16,
    )
    yield y, shelf.height + 16, [shelf]
    y += shelf.height + 16 + GAP
    for names in rows():
        width = (WIDTH - 2 * MARGIN - 16 - GAP * (len(names) - 1)) / len(names)
        row = [
            room_at(
                name,
                purpose(path_of(name)),
                [room.name for room in rooms_of(PACKAGE / name)],
                MARGIN + 8 + index * (width + GAP),
                y + 8,
                width,
            )
            for index, name in enumerate(names)
        ]
        height = max(room.height for room in row)
        yield y, height + 16, row
        y += height + 16 + GAP


def picture() -> str:
    """The SVG: the rows of rooms from the top down, and the way of an event through them."""
    bands = list(laid_out())
    spots = _spots([room for _, _, row in bands for room in row])
    bottom = bands[-1][0] + bands[-1][1] + GAP
    half = (len(EVENT) + 1) // 2
    height = bottom + 40 + 36 * half
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">',
        "<title>The rooms of aintandem-notify and the way of an event through them</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>',
    ]
    for y, band_height, row in bands:
        size = f'width="{WIDTH - 2 * MARGIN}" height="{band_height:.0f}"'
        svg.append(f'<rect class="band" x="{MARGIN}" y="{y:.0f}" {size}/>')
        for room in row:
            svg += _room(room, band_height - 16)
    svg.append(f'<path class="way" d="M {" L ".join(f"{x:.0f} {y:.0f}" for x, y in spots)}"/>')
    svg += [_badge(number, x, y) for number, (x, y) in enumerate(spots, 1)]
    svg.append(f'<text class="name" x="{MARGIN}" y="{bottom + 20:.0f}">The way of an event</text>')
    for number, step in enumerate(EVENT, 1):
        column, line = divmod(number - 1, half)
        x, y = MARGIN + BADGE + column * (WIDTH / 2 - 10), bottom + 46 + 36 * line
        svg.append(_badge(number, x, y))
        svg.append(f'<text class="place" x="{x + 18:.0f}" y="{y - 2:.0f}">{escape(step.path)}</text>')
        svg.append(f'<text x="{x + 18:.0f}" y="{y + 14:.0f}">{escape(step.text.replace("`", ""))}</text>')
    return "\n".join([*svg, "</svg>", ""])


def _room(room: Room, height: float) -> Iterator[str]:
    yield f'<rect class="room" x="{room.x:.0f}" y="{room.y:.0f}" width="{room.width:.0f}" height="{height:.0f}"/>'
    yield f'<text class="name" x="{room.x + 10:.0f}" y="{room.y + 20:.0f}">{escape(room.name)}</text>'
    for number, line in enumerate(room.lines):
        yield f'<text x="{room.x + 10:.0f}" y="{room.y + 38 + LINE * number:.0f}">{escape(line)}</text>'
    for chip, x, y in room.chips:
        width = _chip_width(room.name, chip)
        yield (
            f'<g class="chip"><rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{CHIP}" rx="4"/>'
            f'<text x="{x + 8:.0f}" y="{y + 16:.0f}">{escape(chip)}</text></g>'
        )


def _spots(rooms: list[Room]) -> list[tuple[float, float]]:
    """The places of the badges: on the chip or the room of each step, side by side where there are several."""
    counts: dict[tuple[float, float], int] = {}
    spots = []
    for step in EVENT:
        top, *inner = step.rooms
        room = next(room for room in rooms if room.name == top)
        chip = next((chip for chip in room.chips if inner and chip[0] == inner[0]), None)
        if chip is None:
            corner = (room.x + 10 + 9.4 * len(room.name) + 22, room.y + 15)
        else:
            corner = (chip[1] + CHARACTER * len(chip[0]) + 22, chip[2] + CHIP / 2)
        count = counts.get(corner, 0)
        counts[corner] = count + 1
        spots.append((corner[0] + (2 * BADGE + 2) * count, corner[1]))
    return spots


def _badge(number: int, x: float, y: float) -> str:
    return (
        f'<circle class="badge" cx="{x:.0f}" cy="{y:.0f}" r="{BADGE}"/>'
        f'<text class="number" x="{x:.0f}" y="{y + 4:.0f}">{number}</text>'
    )


# The pages.


def replaced(page: str, mark: str, content: str) -> str:
    """The page with ``content`` between the marks; raises ValueError if it has no such marks."""
    begin, end = f"<!-- begin {mark} -->", f"<!-- end {mark} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no {begin}")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", page)


def way(steps: tuple[Step, ...]) -> str:
    """The steps as a numbered list."""
    return "\n".join(f"{number}. `{step.path}` `{step.name}` {step.text}." for number, step in enumerate(steps, 1))


def table_of_rows() -> str:
    """The rows as a table, each name with its purpose and a link to its page."""
    lines = ["| row | name | purpose |", "|---|---|---|"]
    names = rows()
    for number, row in enumerate(names):
        for name in row:
            link = f"[`{name}/`](architecture/{name}.md)" if path_of(name).is_dir() else f"`{name}`"
            lines.append(f"| {len(names) - number} | {link} | {purpose(path_of(name))}. |")
    return "\n".join(lines)


def table_of_modules(package: Path) -> str:
    """The modules of a package as tables, its rooms one after the other."""
    parts = []
    for room in [package, *rooms_of(package)]:
        modules = sorted(path for path in room.glob("*.py") if path.name != "__init__.py")
        if room != package:
            parts.append(f"\n### {package.name}/{room.name}\n\n{purpose(room)}.\n")
        if modules:
            parts.append("| module | purpose |\n|---|---|")
            parts += [f"| `{path.stem}` | {purpose(path)}. |" for path in modules]
    return "\n".join(parts)


def pages() -> dict[Path, str]:
    """All that this program makes, by file; raises if a step of a way does not exist."""
    for step in (step for steps in WAYS.values() for step in steps):
        step.check()
    overview = replaced(OVERVIEW.read_text(encoding="utf-8"), "rows", table_of_rows())
    for name, steps in WAYS.items():
        overview = replaced(overview, f"way: {name}", way(steps))
    made = {PICTURE: picture(), OVERVIEW: overview}
    for package in packages():
        page = DOCS / "architecture" / f"{package.name}.md"
        made[page] = replaced(page.read_text(encoding="utf-8"), "modules", table_of_modules(package))
    return made


def main() -> None:
    """Write all that is out of date, and name it."""
    for path, content in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
