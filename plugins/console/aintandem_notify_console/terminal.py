"""Lays notifications out for people at a terminal, with rich."""

from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from aintandem_notify.api import Notification, Severity, local_time
from aintandem_notify_console.lines import body_lines, safe, safe_title

MAX_FIELDS: Final = 6
"""Fields that are shown; more would push the title out of sight."""
MIN_WIDTH: Final = 40
"""Columns that the layout needs; a narrower terminal wraps the lines."""
_CAUGHT_UP: Final = "(caught up)"


class SeverityStyle(NamedTuple):
    """The sign of a severity, its replacement without Unicode, and its rich styles."""

    sign: str
    ascii_sign: str
    accent: str
    title: str


# Only the terminal's own 8 colours, which its light or dark theme defines.
SEVERITY_STYLES: Final = {
    Severity.INFO: SeverityStyle("●", "*", "blue", ""),
    Severity.SUCCESS: SeverityStyle("✔", "+", "green", "bold"),
    Severity.WARNING: SeverityStyle("▲", "!", "yellow", "bold"),
    Severity.ERROR: SeverityStyle("✖", "x", "red", "bold red"),
    Severity.CRITICAL: SeverityStyle("✖", "X", "bold red", "bold white on red"),
}


class Terminal:
    """Renders notifications as text with escape sequences; writes nothing."""

    def __init__(self, *, colours: bool, unicode: bool, zone: tzinfo | None = None) -> None:
        """``zone`` is the time zone of the shown times, None for the machine's own."""
        self._unicode = unicode
        self._zone = zone
        self._console = Console(
            force_terminal=True,
            color_system="standard" if colours else None,
            no_color=not colours,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render(self, notification: Notification, *, width: int, limit: int, now: datetime) -> str:
        """The notification as lines of at most ``width`` columns, each ended by a line break.

        ``limit`` is the number of body lines; a time of another day than ``now`` is shown with its date.
        """
        text = Text("\n").join(self._block(notification, max(width, MIN_WIDTH), limit, now))
        with self._console.capture() as capture:
            self._console.print(text, soft_wrap=True)
        return capture.get()

    def _block(self, notification: Notification, width: int, limit: int, now: datetime) -> list[Text]:
        style = SEVERITY_STYLES[notification.severity]
        stamp = clock_time(notification.occurred_at, now, self._zone)
        sign, bar, dot = (style.sign, "│", "·") if self._unicode else (style.ascii_sign, "|", "-")
        margin = " " * (len(stamp) + 3)
        inner = width - len(margin)

        head = _head(notification, style)
        facts = _facts(notification, dot)
        if facts and head.cell_len + 2 + cell_len(facts) <= inner:
            head.append(f"  {facts}", "dim")
            facts = ""
        first = Text.assemble((stamp, "dim"), " ", (sign, style.accent), " ")
        block = self._wrap_indented(head, inner, first, Text(margin))
        if facts:
            block += self._wrap_indented(Text(facts, "dim"), inner, Text(margin), Text(margin))
        edge = Text.assemble(margin, (f"{bar} ", style.accent))
        for line in body_lines(notification.body, limit):
            block += self._wrap_indented(Text(line), inner - 2, edge, edge)
        if notification.url:
            # Never wrapped, so that terminals recognize the link.
            block.append(Text.assemble(margin, (safe(notification.url), "dim underline")))
        return block

    def _wrap_indented(self, text: Text, width: int, first: Text, others: Text) -> list[Text]:
        """``text`` wrapped to ``width``, with ``first`` before its first line and ``others`` before the rest."""
        lines = text.wrap(self._console, width, overflow="fold")
        for line in lines:
            line.rstrip()
        return [Text.assemble(others if number else first, line) for number, line in enumerate(lines)]


def clock_time(moment: datetime, now: datetime, zone: tzinfo | None) -> str:
    """The time of day in ``zone``, with the date if it is not today, and the year if it is half a year away."""
    local, today = local_time(moment, zone), local_time(now, zone)
    if local.date() == today.date():
        return local.strftime("%H:%M:%S")
    year = "" if abs(local.date() - today.date()).days < 183 else f"{local.year:04} "
    return f"{local.day} {local.strftime('%b')} {year}{local.strftime('%H:%M')}"


def _head(notification: Notification, style: SeverityStyle) -> Text:
    """The title, and the project unless the title names it."""
    title = safe_title(notification.title)
    head = Text.assemble((title, style.title))
    if notification.project is not None and notification.project.name not in notification.title:
        head.append(f"  {safe_title(notification.project.name)}", "cyan")
    # Titles from the config do not say it, and old news must not look fresh.
    if notification.event.caught_up and _CAUGHT_UP not in title:
        head.append(f"  {_CAUGHT_UP}", "italic")
    return head


def _facts(notification: Notification, dot: str) -> str:
    """The first ``MAX_FIELDS`` fields in one line, without values that the head shows."""
    project = notification.project
    in_head = {notification.title} | (set() if project is None else {project.id, project.name})
    fields = [field for field in notification.fields if field.value and field.value not in in_head]
    return f" {dot} ".join(f"{safe(name)} {safe_title(value)}" for name, value in fields[:MAX_FIELDS])
