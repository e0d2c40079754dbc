"""Notifications as people like to read them at a terminal, laid out with rich."""

from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from aintandem_notify.api import Notification, Severity, local_time
from aintandem_notify_console.lines import body_lines, safe, safe_title

MOST_FIELDS: Final = 6
"""How many facts are shown; more push the title out of sight."""
NARROWEST: Final = 40
"""Columns that the layout needs; a narrower terminal wraps by itself."""
_CAUGHT_UP: Final = "(caught up)"


class Look(NamedTuple):
    """How a severity looks: its sign, the sign where Unicode cannot be written, and rich styles."""

    sign: str
    ascii_sign: str
    accent: str
    title: str


# Only the terminal's own 8 colours, so that its theme decides, light or dark.
LOOKS: Final = {
    Severity.INFO: Look("●", "*", "blue", ""),
    Severity.SUCCESS: Look("✔", "+", "green", "bold"),
    Severity.WARNING: Look("▲", "!", "yellow", "bold"),
    Severity.ERROR: Look("✖", "x", "red", "bold red"),
    Severity.CRITICAL: Look("✖", "X", "bold red", "bold white on red"),
}


class Terminal:
    """Renders blocks of text with escape sequences for a terminal. Keeps no stream: it only makes text."""

    def __init__(self, *, colours: bool, unicode: bool, zone: tzinfo | None = None) -> None:
        """``zone`` is the one times are shown in, None the machine's own."""
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
        """The notification's block, ended by a line break, in lines of at most ``width`` columns.

        ``limit`` is how many lines of the body are shown; a time of another day than ``now`` shows its date.
        """
        text = Text("\n").join(self._block(notification, max(width, NARROWEST), limit, now))
        with self._console.capture() as capture:
            self._console.print(text, soft_wrap=True)
        return capture.get()

    def _block(self, notification: Notification, width: int, limit: int, now: datetime) -> list[Text]:
        look = LOOKS[notification.severity]
        stamp = clock_time(notification.occurred_at, now, self._zone)
        sign, bar, dot = (look.sign, "│", "·") if self._unicode else (look.ascii_sign, "|", "-")
        margin = " " * (len(stamp) + 3)
        inner = width - len(margin)

        head = _head(notification, look)
        facts = _facts(notification, dot)
        if facts and head.cell_len + 2 + cell_len(facts) <= inner:
            head.append(f"  {facts}", "dim")
            facts = ""
        first = Text.assemble((stamp, "dim"), " ", (sign, look.accent), " ")
        block = self._hang(head, inner, first, Text(margin))
        if facts:
            block += self._hang(Text(facts, "dim"), inner, Text(margin), Text(margin))
        edge = Text.assemble(margin, (f"{bar} ", look.accent))
        for line in body_lines(notification.body, limit):
            block += self._hang(Text(line), inner - 2, edge, edge)
        if notification.url:
            # Never wrapped, so that terminals still see one link.
            block.append(Text.assemble(margin, (safe(notification.url), "dim underline")))
        return block

    def _hang(self, text: Text, width: int, first: Text, rest: Text) -> list[Text]:
        """``text`` wrapped to ``width``, its first line behind ``first`` and all others behind ``rest``."""
        lines = text.wrap(self._console, width, overflow="fold")
        for line in lines:
            line.rstrip()
        return [Text.assemble(rest if number else first, line) for number, line in enumerate(lines)]


def clock_time(moment: datetime, now: datetime, zone: tzinfo | None) -> str:
    """The time of day in ``zone``, with the day when that is not today, and the year when it may be another."""
    local, today = local_time(moment, zone), local_time(now, zone)
    if local.date() == today.date():
        return local.strftime("%H:%M:%S")
    # Within half a year a date says which year it is of.
    year = "" if abs(local.date() - today.date()).days < 183 else f"{local.year:04} "
    return f"{local.day} {local.strftime('%b')} {year}{local.strftime('%H:%M')}"


def _head(notification: Notification, look: Look) -> Text:
    """The title and where it happened, as far as the title does not say it."""
    title = safe_title(notification.title)
    head = Text.assemble((title, look.title))
    if notification.project is not None and notification.project.name not in notification.title:
        head.append(f"  {safe_title(notification.project.name)}", "cyan")
    # Titles of one's own do not say it, and old news that reads like fresh news alarms people.
    if notification.event.caught_up and _CAUGHT_UP not in title:
        head.append(f"  {_CAUGHT_UP}", "italic")
    return head


def _facts(notification: Notification, dot: str) -> str:
    """The first few fields in one line, without what the head says already."""
    project = notification.project
    said = {notification.title} | (set() if project is None else {project.id, project.name})
    fields = [field for field in notification.fields if field.value and field.value not in said]
    return f" {dot} ".join(f"{safe(name)} {safe_title(value)}" for name, value in fields[:MOST_FIELDS])
