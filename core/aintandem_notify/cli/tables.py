"""Lays text out in columns. It reads well in 80 columns, and nothing is ever cut off. Pure."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from aintandem_notify.foundation.printable import escape

GAP: Final = "  "
"""The space between two columns."""
MIN_WIDTH: Final = 20
"""Minimum width of the last column; a narrower terminal wraps by itself."""


def table_lines(rows: Iterable[Sequence[str]], width: int | None = None) -> Iterator[str]:
    """Returns the lines of the aligned rows. The last column wraps at ``width``; None never wraps.

    All rows have the same number of cells. A line break in a cell is escaped and starts no new row.
    """
    rows = [[escape(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    for *cells, last in rows:
        start = "".join(cell.ljust(size) + GAP for cell, size in zip(cells, widths, strict=True))
        yield from hanging_lines(start, last, width)


def hanging_lines(start: str, text: str, width: int | None = None) -> Iterator[str]:
    """Returns ``text`` after ``start``, wrapped to ``width``; further lines are indented below its first."""
    start, text = escape(start), escape(text)
    if width is None:
        yield (start + text).rstrip()
        return
    text_width = max(width - len(start), MIN_WIDTH)
    first, *further = textwrap.wrap(text, text_width, break_long_words=False, break_on_hyphens=False) or [""]
    yield (start + first).rstrip()
    for line in further:
        yield " " * len(start) + line
