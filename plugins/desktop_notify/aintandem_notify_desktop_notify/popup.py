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
"""Lines of a body."""

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
    return Popup(
        app_name=app_name,
        summary=_cut(" ".join(_clean_lines(notification.title)), MAX_SUMMARY_CHARACTERS),
        body=_cut("\n".join([*where, *_clean_lines(notification.body)][:MAX_BODY_LINES]), MAX_BODY_CHARACTERS),
        severity=notification.severity,
        url=notification.url,
        icon=icon,
        expire_timeout=expire_timeout,
    )


def _clean_lines(text: str) -> list[str]:
    """The visible lines of ``text``, without control characters."""
    plain = _SURROGATE.sub("\ufffd", text[: 20 * MAX_BODY_CHARACTERS]).replace("\t", " ")
    # Also removes NUL: it ends a text on D-Bus, and a bus disconnects a client that sends one.
    lines = (strip_unprintable(line).strip() for line in _LINE_BREAK.split(plain))
    return [line for line in lines if line]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
