"""The notifications that were committed a moment ago, as they were made.

To read one back from the store costs more than to deliver it to a file, and most are claimed at once.
"""

from dataclasses import dataclass, field
from typing import Final

from aintandem_notify.domain.notification import Notification
from aintandem_notify.log import secrets_generation

MAX_NOTIFICATIONS: Final = 2000
"""Notifications kept for one destination; eight usual transactions of ingest, so that no short rush fills it."""

MAX_CHARACTERS: Final = 4 * 2**20
"""What those of one destination may take together, as the store holds them."""


@dataclass(slots=True)
class _DestinationCache:
    """What is kept for one destination: notification, size and known secrets by the notification's id."""

    entries: dict[str, tuple[Notification, int, int]] = field(default_factory=dict)
    characters: int = 0


class NotificationCache:
    """Remembers for each destination what waits for it, up to a bound; the store has all of it in any case.

    When it is full nothing is added, since the oldest are claimed first. ``evict_oldest`` drops the oldest
    instead, since another agent may have claimed them.
    """

    def __init__(
        self,
        max_notifications: int = MAX_NOTIFICATIONS,
        max_characters: int = MAX_CHARACTERS,
        *,
        evict_oldest: bool = False,
    ) -> None:
        self.evict_oldest = evict_oldest
        self._max_notifications = max_notifications
        self._max_characters = max_characters
        self._by_destination: dict[str, _DestinationCache] = {}

    def add(self, destination: str, notification: Notification, characters: int) -> bool:
        """Keep it if there is room; whether there was."""
        cached = self._by_destination.setdefault(destination, _DestinationCache())
        self.remove(destination, notification.id)
        if self.evict_oldest and characters <= self._max_characters:
            while cached.entries and not self._fits(cached, characters):
                self.remove(destination, next(iter(cached.entries)))
        if not self._fits(cached, characters):
            return False
        cached.entries[notification.id] = notification, characters, secrets_generation()
        cached.characters += characters
        return True

    def _fits(self, cached: _DestinationCache, characters: int) -> bool:
        return (
            len(cached.entries) < self._max_notifications
            and cached.characters + characters <= self._max_characters
        )

    def get(self, destination: str, notification_id: str) -> Notification | None:
        """The notification; None when only the store has it, or it may hold what has become a secret since."""
        cached = self._by_destination.get(destination)
        entry = None if cached is None else cached.entries.get(notification_id)
        return None if entry is None or entry[2] != secrets_generation() else entry[0]

    def remove(self, destination: str, notification_id: str) -> None:
        """It is settled; nothing happens if it was not kept."""
        cached = self._by_destination.get(destination)
        if cached is not None and (entry := cached.entries.pop(notification_id, None)):
            cached.characters -= entry[1]

    def remove_all(self, destination: str) -> None:
        """All that is kept for this destination."""
        self._by_destination.pop(destination, None)

    def clear(self) -> None:
        """Everything, for when it is not certain what the store holds."""
        self._by_destination.clear()
