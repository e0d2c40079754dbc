"""Prepares a claimed notification for the plugin.

Marks one that was taken over from another destination, and reduces one to plain text after a refusal.
"""

import unicodedata
from dataclasses import replace
from typing import Final

from aintandem_notify.domain.event_redaction import strip_texts
from aintandem_notify.domain.notification import Field, Notification
from aintandem_notify.domain.runs import Run
from aintandem_notify.log import get_logger
from aintandem_notify.rules import formats
from aintandem_notify.store import Claim

MAX_PLAIN_TITLE: Final = 150
MAX_PLAIN_BODY: Final = 1000
"""Characters in the last try, as plain text; short enough for any destination's limits."""

log: Final = get_logger(__name__)

INSTEAD_OF: Final = "Instead of"
"""The name of the field with the original destination of a notification that the fallback took over."""


def render_claim(claim: Claim) -> Notification:
    """Returns the notification for the plugin. If preparing it fails, it has no texts from outside."""
    try:
        return _render(claim)
    except Exception as error:  # a bad text must not suppress the notification
        log.error("a notification goes out without its text", id=claim.notification.id, exc_info=error)
        return strip_texts(claim.notification).model_copy(
            update={"plain": claim.plain, "instead_of": claim.instead_of}
        )


def _render(claim: Claim) -> Notification:
    notification = claim.notification
    if claim.instead_of is not None:
        fields = (*notification.fields, Field(INSTEAD_OF, claim.instead_of))
        notification = notification.model_copy(update={"instead_of": claim.instead_of, "fields": fields})
    return _copy_for_plugin(as_plain(notification) if claim.plain else notification)


def _copy_for_plugin(notification: Notification) -> Notification:
    """Returns a copy for this destination: others share the original, and a plugin may change its argument."""
    return notification.model_copy(update={"event": notification.event.detached()})


def as_plain(notification: Notification) -> Notification:
    """Returns the notification for the last try after a refusal: only title and body, as short plain text."""
    title = formats.one_line(plain_text(notification.title), MAX_PLAIN_TITLE)
    return notification.model_copy(
        update={
            "plain": True,
            "title": title or notification.event.type,
            "body": formats.cut_end(plain_text(notification.body), MAX_PLAIN_BODY),
            "fields": (),
            "url": None,
            "mentions": (),
            "run": notification.run and _plain_run(notification.run),
        }
    )


def plain_text(text: str) -> str:
    """Returns the text without colours, control characters, surrogates and unassigned code points."""
    safe = formats.sanitize(text)
    # Cc, Cf, Cs, Co and Cn have no letters, signs, marks or spaces.
    return "".join(char for char in safe if char in "\n\t" or not unicodedata.category(char).startswith("C"))


def _plain_run(run: Run) -> Run:
    return replace(run, name=formats.one_line(plain_text(run.name), MAX_PLAIN_TITLE), output_tail="")
