"""Short names for runs, different for each run under way. Pure."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from aintandem_notify.foundation.printable import strip

MAX_LABEL: Final = 100
"""Characters of a label, id mark included; a task may be named after its whole prompt."""
LABEL_COLUMNS: Final = 24
"""Columns of a terminal for the name of a run, before its output and its bar."""
ID_MARK: Final = " …"
"""Separates a name from the end of its run's id, where another run would look the same."""
_ID_ENDS: Final = (4, 8, 12)
"""Characters of the end of an id; the fewest that make the difference are shown."""


def unique_label(name: str, run_id: str, is_taken: Callable[[str], bool]) -> str:
    """``name``, with the end of the run's id or a number if its short form is taken.

    ``is_taken`` gets short forms, as ``shorten_label`` makes them, since a terminal shows no more of a name.
    """
    return next(label for label in _candidates(name, strip(run_id)) if not is_taken(shorten_label(label)))


def _candidates(name: str, run_id: str) -> Iterator[str]:
    yield name
    for length in _ID_ENDS:
        yield _marked(name, run_id[-length:])
    for number in count(2):
        yield _marked(name, f"#{number}")


def _marked(name: str, end: str) -> str:
    return f"{name[: MAX_LABEL - len(ID_MARK) - len(end)]}{ID_MARK}{end}"


def shorten_label(label: str) -> str:
    """``label`` in at most ``LABEL_COLUMNS`` columns; a mark with the end of an id is kept."""
    from rich.cells import cell_len

    if cell_len(label) <= LABEL_COLUMNS:
        return label
    name, mark, end = label.rpartition(ID_MARK)
    suffix = f"{mark}{end}" if mark and len(end) <= max(_ID_ENDS) else "…"
    head = (label if suffix == "…" else name)[:LABEL_COLUMNS]
    while head and cell_len(head) > LABEL_COLUMNS - cell_len(suffix):
        head = head[:-1]
    return head.rstrip() + suffix
