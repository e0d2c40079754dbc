"""Tables for people: how rows are drawn on a terminal, and in a pipe without cutting anything off."""

from collections.abc import Iterable, Sequence


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to stdout. In a pipe it is as wide as its content, so that grep finds whole lines."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=not console.is_terminal)
    for row in rows:
        table.add_row(*map(Text, row))
    if not console.is_terminal:
        console.width = max(1, console.measure(table).maximum)
    console.print(table)
