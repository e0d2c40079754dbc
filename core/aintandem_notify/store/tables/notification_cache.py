"""The notifications that were committed a moment ago, as they were made.

To read one back from the store costs more than to deliver it to a file, and most are claimed at once.
"""

from dataclasses import dataclass, field
from typing import Final

from aintandem_notify.domain.notification import Notification
from aintandem_notify.log import secrets_generation

MOST: Final = 2000
"""Notifications kept for one destination; eight usual transactions of ingest, so that no short rush fills it."""

MOST_CHARACTERS: Final = 4 * 2**20
"""What those of one destination may take together, as the store holds them."""


@dataclass(slots=True)
class _Shelf:
    """What is kept for one destination: notification, size and known secrets by the notification's id."""

    kept: dict[str, tuple[Notification, int, int]] = field(default_factory=dict)
    characters: int = 0


class NotificationCache:
    """Remembers for each destination what waits for it, up to a bound; the store has all of it in any case.

    When a shelf is full nothing is added: the oldest are claimed first. ``replace``: the oldest give way instead,
    since others may have taken them.
    """

    def __init__(self, most: int = MOST, most_characters: int = MOST_CHARACTERS, *, replace: bool = False) -> None:
        self.replace = replace
        self._most = most
        self._most_characters = most_characters
        self._shelves: dict[str, _Shelf] = {}

    def add(self, destination: str, notification: Notification, characters: int) -> bool:
        """Keep it if there is room; whether there was."""
        shelf = self._shelves.setdefault(destination, _Shelf())
        self.remove(destination, notification.id)
        if self.replace and characters <= self._most_characters:
            while shelf.kept and not self._fits(shelf, characters):
                self.remove(destination, next(iter(shelf.kept)))
        if not self._fits(shelf, characters):
            return False
        shelf.kept[notification.id] = notification, characters, secrets_generation()
        shelf.characters += characters
        return True

    def _fits(self, shelf: _Shelf, characters: int) -> bool:
        return len(shelf.kept) < self._most and shelf.characters + characters <= self._most_characters

    def get(self, destination: str, notification_id: str) -> Notification | None:
        """The notification; None when only the store has it, or it may hold what has become a secret since."""
        shelf = self._shelves.get(destination)
        found = None if shelf is None else shelf.kept.get(notification_id)
        return None if found is None or found[2] != secrets_generation() else found[0]

    def remove(self, destination: str, notification_id: str) -> None:
        """It is settled; nothing happens if it was not kept."""
        shelf = self._shelves.get(destination)
        if shelf is not None and (found := shelf.kept.pop(notification_id, None)):
            shelf.characters -= found[1]

    def forget(self, destination: str) -> None:
        """All that is kept for this destination."""
        self._shelves.pop(destination, None)

    def clear(self) -> None:
        """Everything, for when it is not certain what the store holds."""
        self._shelves.clear()
