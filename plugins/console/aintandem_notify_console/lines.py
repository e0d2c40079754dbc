"""Texts made safe for a terminal, cut to what people read, and the plain line. Pure.

What tasks write is not to be trusted: it may hold escape sequences that steer a terminal, line breaks that
forge a line of their own, or marks that turn the reading direction round.
"""

import re
from typing import Final

from aintandem_notify.api import Notification, escape_unprintable, strip_unprintable

LONGEST_LINE: Final = 1000
"""Characters of a body line that are shown; a progress bar or a minified file goes on for ever."""
LONGEST_TITLE: Final = 200
"""Characters of a title that are shown."""

_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")


def safe(text: str) -> str:
    """``text`` as one line without anything that steers a terminal; its tabs and line breaks read as ``\\t``."""
    return escape_unprintable(strip_unprintable(text))


def safe_title(text: str) -> str:
    """As ``safe``, cut to the length of a title."""
    return _cut(safe(text), LONGEST_TITLE)


def body_lines(body: str, limit: int) -> list[str]:
    """At most ``limit`` safe lines of ``body``, and one that says how many were left out.

    The first one stays, since it names the error, and the last ones, where output ends.
    """
    lines = _LINE_BREAK.split(body.strip()) if body.strip() else []
    left_out = len(lines) - limit
    if left_out > 0:
        tail = lines[len(lines) - limit + 1 :] if limit else []
        notice = [f"… {left_out} more {'line' if left_out == 1 else 'lines'}"] if limit else []
        lines = [*lines[: min(1, limit)], *notice, *tail]
    return [_cut(safe(line[: 4 * LONGEST_LINE].expandtabs(4).rstrip()), LONGEST_LINE) for line in lines]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def plain_line(notification: Notification, limit: int) -> str:
    """Time, severity, event type, project, title and body, between tabs; ended by the only line break in it.

    Made for grep, cut and awk: tabs and line breaks inside a text are written ``\\t`` and ``\\n``, a missing
    project is ``-``. The time is the event's, UTC.
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
