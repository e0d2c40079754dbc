"""Formats a notification for any desktop. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from aintandem_notify.api import Notification, Severity, strip_unprintable

MAX_SUMMARY_CHARACTERS: Final = 150
"""Characters of a title; desktops show one or two lines."""
MAX_BODY_CHARACTERS: Final = 600
"""Characters of a body; desktops fold a longer one."""
MAX_BODY_LINES: Final = 8
"""Lines of a body, including the one that counts those left out."""
_MAX_READ: Final = 20 * MAX_BODY_CHARACTERS
"""Characters of a text whose lines are cleaned; of the rest, the lines are only counted."""

_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Popup:
    """One notification for a desktop: plain texts, cut and without control characters.

    ``expire_timeout`` is in seconds, 0 for ever, None for the desktop's default. ``icon`` is a name or a path,
    None for the severity's icon.
    """

    app_name: str
    summary: str
    body: str
    severity: Severity
    url: str | None = None
    icon: str | None = None
    expire_timeout: float | None = None


def popup_of(
    notification: Notification, *, app_name: str, icon: str | None, expire_timeout: float | None
) -> Popup:
    """The title as the summary; below it the project, unless the title names it, and the body."""
    project = notification.project
    where = [] if project is None or project.name in notification.title else [project.name]
    read, unread = _divide(notification.body)
    return Popup(
        app_name=app_name,
        summary=cut(" ".join(_clean_lines(_divide(notification.title)[0])), MAX_SUMMARY_CHARACTERS),
        body=_body([*where, *_clean_lines(read)], unread),
        severity=notification.severity,
        url=notification.url,
        icon=icon,
        expire_timeout=expire_timeout,
    )


def cut(text: str, length: int) -> str:
    """``text`` in at most so many characters; an ellipsis shows that something is missing."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _body(lines: list[str], unread: str) -> str:
    """The first of ``lines``; if some do not fit, the last line counts the missing ones."""
    whole = "\n".join(lines)
    if len(lines) <= MAX_BODY_LINES and len(whole) <= MAX_BODY_CHARACTERS and not unread:
        return whole
    room = MAX_BODY_CHARACTERS - len("\n… 1,000,000,000 more characters")
    visible = "\n".join(lines[: MAX_BODY_LINES - 1])[:room].rstrip("\n")
    # A line that is cut itself is not among those left out. The unread part begins within a line.
    further = sum(1 for line in _LINE_BREAK.split(unread)[1:] if line.strip())
    left_out = len(lines) - len(visible.splitlines()) + further
    if left_out and lines[-1].startswith("… and ") and not unread:  # its own number is of other things than lines
        return f"{visible}\n… and more"
    if left_out:
        mark = "" if whole.startswith(f"{visible}\n") else "…"
        return f"{visible}{mark}\n… {left_out:,} more {'line' if left_out == 1 else 'lines'}"
    return f"{visible}…\n… {len(whole) + len(unread) - len(visible):,} more characters"


def _divide(text: str) -> tuple[str, str]:
    """The beginning of ``text``, which is read, and the rest. Divided before a line break if there is one."""
    end = _MAX_READ if len(text) <= _MAX_READ else text.rfind("\n", 1, _MAX_READ)
    end = end if end > 0 else _MAX_READ
    return text[:end], text[end:] if text[end:].strip() else ""


def _clean_lines(text: str) -> list[str]:
    """The visible lines of ``text``, without control characters."""
    plain = _SURROGATE.sub("\ufffd", text).replace("\t", " ")
    # Also removes NUL: it ends a text on D-Bus, and a bus disconnects a client that sends one.
    lines = (strip_unprintable(line).strip() for line in _LINE_BREAK.split(plain))
    return [line for line in lines if line]
