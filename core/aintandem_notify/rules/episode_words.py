"""The words about an episode: that it is over, that it goes on, that nobody has acknowledged it."""

from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import Final

from aintandem_notify.domain.notification import Field, Notification, Severity
from aintandem_notify.rules import formats

FIXED_FIELD: Final = "Fixed after"
"""The name of the fact that a notification about an end has."""

MAX_TITLE_CHARACTERS: Final = 500
"""Characters of a title; our limit for one line on a phone."""


class Occasion(Enum):
    """The reason for a word about an episode; its value is the title, around that of the event."""

    FIXED = "Fixed after {time}: {title}"
    OVER = "Over after {time}: {title}"
    ENDED_BY_HAND = "Ended by hand after {time}: {title}"
    STILL_FAILING = "Still failing after {time}: {title}"
    NOT_ACKNOWLEDGED = "Not acknowledged for {time}: {title}"

    @property
    def is_end(self) -> bool:
        """True if the trouble is over."""
        return self in (Occasion.FIXED, Occasion.OVER, Occasion.ENDED_BY_HAND)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeWord:
    """A word about the episode ``episode`` of ``rule``: after ``seconds`` of trouble, ``troubles`` times.

    ``thread`` is that of its first notification. ``number`` counts the words of one occasion.
    """

    occasion: Occasion
    episode: str
    rule: str
    thread: str
    seconds: float
    troubles: int = 1
    number: int = 0


def about(word: EpisodeWord, notification: Notification) -> Notification:
    """The word; ``notification`` is that of the event which is its occasion, or of the last trouble."""
    title = word.occasion.value.format(time=formats.duration(word.seconds), title=notification.title)
    changes: dict[str, object] = {
        "id": _id(word, notification),
        "title": formats.one_line(title, MAX_TITLE_CHARACTERS),
        "thread": word.thread,
    }
    if word.occasion.is_end:
        changes |= _facts_of_end(word, notification)
    elif word.troubles > 1:
        changes["fields"] = (*notification.fields, Field("Times", str(word.troubles)))
    if word.occasion is Occasion.ENDED_BY_HAND:
        changes["severity"] = Severity.INFO
    return notification.model_copy(update=changes)


def mark_fixed(word: EpisodeWord, notification: Notification, *, is_whole: bool) -> Notification:
    """A rule's own notification about the event that ends the episode, which is the word about the end, too.

    ``is_whole``: all its destinations get it; else it is a second one beside that of the rule.
    """
    changes: dict[str, object] = {"thread": word.thread, **_facts_of_end(word, notification)}
    if not is_whole:
        changes["id"] = _id(word, notification)
    return notification.model_copy(update=changes)


def _facts_of_end(word: EpisodeWord, notification: Notification) -> dict[str, object]:
    field = Field(FIXED_FIELD, formats.duration(word.seconds))
    return {"fixed_after": word.seconds, "fields": (*notification.fields, field)}


def _id(word: EpisodeWord, notification: Notification) -> str:
    """The same for the same word, so that it is stored once; begins as the ids of the events do."""
    text = f"{word.episode}\n{word.occasion.name}\n{word.number}\n{notification.id}"
    return notification.id[: len("ntf_") + 12] + blake2b(text.encode(), digest_size=10).hexdigest()
