"""Makes texts safe for a terminal, cuts them to a readable length, and formats the plain line. Pure.

Texts of tasks are untrusted: they may contain escape sequences that control a terminal, line breaks that forge a
line, or marks that reverse the reading direction.
"""

import re
from typing import Final

from aintandem_notify.api import Notification, escape_unprintable, strip_unprintable

MAX_LINE_CHARACTERS: Final = 1000
"""Characters of a body line that are shown; progress bars and minified files have very long lines."""
MAX_TITLE_CHARACTERS: Final = 200
"""Characters of a title that are shown."""

_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")


def safe(text: str) -> str:
    """``text`` as one line without terminal control; its tabs and line breaks become ``\\t`` and ``\\n``."""
    return escape_unprintable(strip_unprintable(text))


def safe_title(text: str) -> str:
    """``safe``, cut to the length of a title."""
    return _cut(safe(text), MAX_TITLE_CHARACTERS)


def body_lines(body: str, limit: int) -> list[str]:
    """At most ``limit`` safe lines of ``body``, and one line with the number of omitted ones.

    Keeps the first line, since it names the error, and the last ones, the end of the output.
    """
    lines = _LINE_BREAK.split(body.strip()) if body.strip() else []
    omitted = len(lines) - limit
    if omitted > 0:
        tail = lines[len(lines) - limit + 1 :] if limit else []
        notice = [f"… {omitted} more {'line' if omitted == 1 else 'lines'}"] if limit else []
        lines = [*lines[: min(1, limit)], *notice, *tail]
    cut = (line[: 4 * MAX_LINE_CHARACTERS] for line in lines)
    return [_cut(safe(line.expandtabs(4).rstrip()), MAX_LINE_CHARACTERS) for line in cut]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def plain_line(notification: Notification, limit: int) -> str:
    """Time, severity, event type, project, title and body, separated by tabs; a line break ends the line.

    For grep, cut and awk: tabs and line breaks inside a text are written ``\\t`` and ``\\n``, a missing project is
    ``-``. The time is the event's, in UTC.
    """
    project = notification.project
    columns = (
        notification.occurred_at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z",
        notification.severity.value,
        safe(notification.event.type),
        "-" if project is None else safe(project.name),
        safe_title(notification.title),
        "\\n".join(body_lines(notification.body, limit)),
    )
    return "\t".join(columns) + "\n"
