"""A notification as each kind of destination would send or write it, made by the plugins' own functions."""

from datetime import UTC, datetime

from aintandem_notify.api import Notification
from aintandem_notify.delivery.rendering import as_plain
from aintandem_notify_console.lines import plain_line
from aintandem_notify_console.terminal import Terminal
from aintandem_notify_desktop_notify.popup import popup_of
from aintandem_notify_file_log.lines import json_line
from aintandem_notify_slack.message import plain_message, rich_message
from aintandem_notify_webhook.payload import encode

_TERMINAL = Terminal(colours=True, unicode=True, zone=UTC)


def as_sent(notification: Notification) -> dict[str, str]:
    """By kind of destination: as it is, and at its last try as plain text."""
    plain = as_plain(notification)
    return {
        "webhook": f"{encode(notification)!r} {encode(plain)!r}",
        "slack": f"{rich_message(notification)} {plain_message(plain)}",
        "file_log": f"{json_line(notification)!r} {json_line(plain)!r}",
        "console": plain_line(notification, 1000) + plain_line(plain, 1000),
        "terminal": _TERMINAL.render(notification, width=100_000, limit=1000, now=datetime.now(UTC)),
        "desktop_notify": f"{popup_of(notification, app_name='', icon=None, expire_timeout=None)}",
        "a plugin": f"{notification!r} {notification.model_dump_json()} {notification.event.wire()}",
    }
