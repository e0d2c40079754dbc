"""A claimed notification as its destination gets it: taken over from another, or as plain as it can be."""

import unicodedata
from copy import deepcopy
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
"""Characters of a last try; short enough for whatever a destination may have found too long."""

log = get_logger(__name__)

INSTEAD_OF: Final = "Instead of"
"""The name of the field that says which destination this one stands in for."""


def render_claim(claim: Claim) -> Notification:
    """What the plugin gets for this claim; without any text from outside where something is wrong with those."""
    try:
        return _presented(claim)
    except Exception as error:  # its text is no reason not to say that it happened
        log.error("a notification goes out without its text", id=claim.notification.id, exc_info=error)
        return strip_texts(claim.notification).model_copy(
            update={"plain": claim.plain, "instead_of": claim.instead_of}
        )


def _presented(claim: Claim) -> Notification:
    notification = claim.notification
    if claim.instead_of is not None:
        fields = (*notification.fields, Field(INSTEAD_OF, claim.instead_of))
        notification = notification.model_copy(update={"instead_of": claim.instead_of, "fields": fields})
    return _own(as_plain(notification) if claim.plain else notification)


def _own(notification: Notification) -> Notification:
    """A copy for this destination alone: others share the original, and a plugin may change what it gets."""
    event = notification.event.model_copy()
    values = event.__dict__
    values.update({name: deepcopy(value) for name, value in values.items() if isinstance(value, dict | list)})
    return notification.model_copy(update={"event": event})


def as_plain(notification: Notification) -> Notification:
    """The last try of a message that was refused: title and body as short plain text, and nothing else."""
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
    """Without colours, control characters, halves of characters and whatever Unicode has no sign for."""
    safe = formats.sanitize(text)
    # Cc, Cf, Cs, Co and Cn: no letter, sign, mark or space is in there.
    return "".join(one for one in safe if one in "\n\t" or not unicodedata.category(one).startswith("C"))


def _plain_run(run: Run) -> Run:
    return replace(run, name=formats.one_line(plain_text(run.name), MAX_PLAIN_TITLE), output_tail="")
