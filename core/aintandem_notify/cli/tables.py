"""Text laid out in columns, so that it reads well at 80 of them and nothing is ever cut off. Pure."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from aintandem_notify.foundation.printable import escape

GAP: Final = "  "
"""What stands between two columns."""
MIN_WIDTH: Final = 20
"""Columns that the last one gets at least; a terminal that has not got them wraps by itself."""


def table_lines(rows: Iterable[Sequence[str]], width: int | None = None) -> Iterator[str]:
    """The rows, aligned; what is too long for ``width`` goes on below itself in the last column.

    None is any width. All rows have the same number of cells. What a cell holds stays in it: a line break in a
    name makes no row of its own.
    """
    rows = [[escape(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    for *cells, last in rows:
        start = "".join(cell.ljust(size) + GAP for cell, size in zip(cells, widths, strict=True))
        yield from hanging_lines(start, last, width)


def hanging_lines(start: str, text: str, width: int | None = None) -> Iterator[str]:
    """``text`` behind ``start``, wrapped to ``width`` with its further lines under the first."""
    start, text = escape(start), escape(text)
    if width is None:
        yield (start + text).rstrip()
        return
    room = max(width - len(start), MIN_WIDTH)
    first, *others = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    yield (start + first).rstrip()
    for line in others:
        yield " " * len(start) + line
