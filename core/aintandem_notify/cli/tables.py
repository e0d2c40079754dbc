"""Tables for people: how rows are drawn on a terminal, and in a pipe without cutting anything off."""

from collections.abc import Iterable, Sequence
from typing import Final

WIDEST: Final = 1000
"""Columns of a table that is not for a terminal: enough for whole lines, which grep and cut want."""


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to stdout. In a pipe it is as wide as its content, so that grep finds whole lines."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDEST)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
