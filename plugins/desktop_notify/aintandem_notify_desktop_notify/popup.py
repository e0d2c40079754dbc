"""What a notification looks like on a desktop, whichever one that is. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from aintandem_notify.api import Notification, Severity, strip_unprintable

LONGEST_SUMMARY: Final = 150
"""Characters of a title; desktops show one or two lines of it."""
LONGEST_BODY: Final = 600
"""Characters of a body; desktops fold away what is longer than a few lines."""
MOST_LINES: Final = 8
"""Lines of a body."""

_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Popup:
    """One notification for a desktop: plain texts, cut and without control characters.

    ``expire_timeout`` is in seconds, 0 for ever, None as the desktop likes. ``icon`` is a name or a path,
    None for the severity's own.
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
    """The title on top, below it the project, if the title does not name it, and the body."""
    project = notification.project
    where = [] if project is None or project.name in notification.title else [project.name]
    return Popup(
        app_name=app_name,
        summary=_cut(" ".join(_clean_lines(notification.title)), LONGEST_SUMMARY),
        body=_cut("\n".join([*where, *_clean_lines(notification.body)][:MOST_LINES]), LONGEST_BODY),
        severity=notification.severity,
        url=notification.url,
        icon=icon,
        expire_timeout=expire_timeout,
    )


def _clean_lines(text: str) -> list[str]:
    """The lines of ``text`` that have something to show."""
    plain = _SURROGATE.sub("\ufffd", text[: 20 * LONGEST_BODY]).replace("\t", " ")
    # NUL goes as well: it ends a text on D-Bus, and a bus hangs up on who sends one.
    lines = (strip_unprintable(line).strip() for line in _LINE_BREAK.split(plain))
    return [line for line in lines if line]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
