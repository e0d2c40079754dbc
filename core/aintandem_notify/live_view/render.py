"""Renders lines and bars as plain text, as JSON, or for a terminal of some width. Pure."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Severity
from aintandem_notify.foundation.clock import EPOCH, iso_seconds, local_time
from aintandem_notify.foundation.printable import escape, escape_json
from aintandem_notify.live_view.labels import LABEL_COLUMNS, shorten_label
from aintandem_notify.live_view.model import DisplayLine, TaskBar
from aintandem_notify.rules import formats

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

SIGNS: Final = {
    Severity.INFO: ("●", "blue"),
    Severity.SUCCESS: ("✔", "green"),
    Severity.WARNING: ("▲", "yellow"),
    Severity.ERROR: ("✖", "red"),
    Severity.CRITICAL: ("✖", "bold red"),
}
"""The sign before a line and its colour. Named colours, so that the terminal's theme decides."""

MAX_LINE: Final = 2000
"""Characters of a line that a terminal shows; a minified file has endless lines."""
MIN_COLUMNS: Final = 20
"""Columns for a text beside the margin at least; a narrower terminal wraps by itself."""
MAX_BARS: Final = 12
"""Bars that are shown at once; lines above them should stay in sight."""
_BAR_COLUMNS: Final = 20


def json_line(event: Event) -> str:
    """The event as received, on one line of printable characters."""
    return escape_json(json.dumps(event.wire(), ensure_ascii=False, separators=(",", ":")))


def plain_lines(line: DisplayLine) -> Iterator[str]:
    """The line and its details as lines of text: the time (UTC), the project's id, and the text.

    Output and details follow the run's name and a ``|``. Each line repeats time and project, for grep.
    """
    start = f"{iso_seconds(line.moment.astimezone(UTC), 'T')}Z {formats.one_line(line.project.id, 200)} "
    below = f"{start}{line.label} | " if line.label else f"{start}| "
    yield escape((below if line.is_output else start) + line.text)
    for detail in line.details:
        yield escape(below + detail)


def terminal_lines(line: DisplayLine, *, zone: tzinfo | None, with_project: bool) -> "Iterator[tuple[Text, Text]]":
    """The line and its details for a terminal: the time of day in ``zone`` (None: the machine's), a sign, colours.

    Yields pairs of the margin and the text beside it.
    """
    from rich.text import Text

    stamp = f"{local_time(line.moment, zone):%H:%M:%S}"
    margin = " " * len(stamp)
    sign, colour = SIGNS[line.severity]
    details = line.details
    if line.is_output:
        edge = Text.assemble(margin, " ", (f"{shorten_label(line.label)} │ ", "cyan"))
        details = (line.text, *details)
    else:
        edge = Text.assemble(margin, " ", ("│ ", colour))
        head = Text(_truncate(escape(line.text)), _title_style(line.severity))
        if with_project and line.project.name not in line.text:
            head = Text.assemble(head, (f"  {formats.one_line(line.project.name, 60)}", "cyan"))
        yield Text.assemble((stamp, "dim"), " ", (sign, colour), " "), head
    for detail in details:
        yield edge, Text(_truncate(escape(detail)))


def wrap(margin: "Text", text: "Text", console: "Console") -> "Iterator[Text]":
    """Wraps ``text`` to the console. The first line begins with ``margin``, the others with as many spaces."""
    from rich.text import Text

    room = Text(" " * margin.cell_len)
    width = max(console.width - margin.cell_len, MIN_COLUMNS)
    for number, line in enumerate(text.wrap(console, width, overflow="fold")):
        line.rstrip()
        yield Text.assemble(room if number else margin, line)


def _title_style(severity: Severity) -> str:
    return {"info": "", "success": "bold", "warning": "bold"}.get(severity.value, "bold red")


def _truncate(text: str) -> str:
    return text if len(text) <= MAX_LINE else text[: MAX_LINE - 1] + "…"


def render_bars(
    running: Sequence[TaskBar], *, now: datetime, rows: int, columns: int, with_project: bool, status: str = ""
) -> "RenderableType":
    """The running tasks in at most ``rows`` rows, the last counting those that do not fit, and ``status`` below.

    The last columns of ``columns`` stay free: a terminal writes ``^C`` there, which would begin another row.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    limit = max(1, min(rows, MAX_BARS))
    visible = running if len(running) <= limit else running[: limit - 1]
    table = Table.grid(padding=(0, 1), expand=True)
    table.width = width = max(columns - len("^C") - 1, MIN_COLUMNS)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=LABEL_COLUMNS)
    table.add_column(width=_BAR_COLUMNS)
    table.add_column(no_wrap=True, justify="right", width=4)
    table.add_column(no_wrap=True, justify="right", min_width=4)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for bar in visible:
        text = " · ".join(filter(None, (bar.project.name if with_project else "", bar.step, bar.message)))
        since = None if bar.since is None or bar.since < EPOCH else (now - bar.since).total_seconds()
        table.add_row(
            Text(shorten_label(bar.label), "bold"),
            ProgressBar(100, bar.percent or 0, width=_BAR_COLUMNS, pulse=bar.percent is None),
            "" if bar.percent is None else f"{bar.percent:.0f}%",
            Text("" if since is None else formats.duration(max(0, int(since))) if since >= 1 else "", "dim"),
            Text(formats.one_line(text, 300), "dim"),
        )
    parts: list[RenderableType] = [table] if visible else []
    if len(running) > len(visible):
        parts.append(Text(f"… and {len(running) - len(visible)} more running tasks", "dim"))
    if status:
        line = Text(escape(status), "dim")
        line.truncate(width, overflow="ellipsis")
        parts.append(line)
    return Group(*parts)
