"""Caches notifications that were just committed, since most of them are claimed at once.

Reading one back from the store costs more than delivering it to a file.
"""

from dataclasses import dataclass, field
from typing import Final

from aintandem_notify.domain.notification import Notification
from aintandem_notify.log import secrets_generation

MAX_NOTIFICATIONS: Final = 2000
"""Notifications for one destination; eight usual transactions of ingest, so that no short rush fills it."""

MAX_CHARACTERS: Final = 4 * 2**20
"""Total length of the notifications for one destination, in characters as stored."""


@dataclass(slots=True)
class _DestinationCache:
    """The entries of one destination by notification id: notification, characters, secrets generation."""

    entries: dict[str, tuple[Notification, int, str]] = field(default_factory=dict)
    characters: int = 0


class NotificationCache:
    """Caches the waiting notifications of each destination, up to the limits; the store has all of them.

    When it is full nothing is added, since the oldest are claimed first. ``evict_oldest`` drops the oldest
    instead, since another agent may have claimed them.
    """

    def __init__(
        self,
        max_notifications: int = MAX_NOTIFICATIONS,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        self.evict_oldest = False
        self._max_notifications = max_notifications
        self._max_characters = max_characters
        self._by_destination: dict[str, _DestinationCache] = {}

    def add(self, destination: str, notification: Notification, characters: int, secrets: str) -> bool:
        """Adds the notification if there is room. Returns whether there was.

        ``secrets``: the secrets generation at which it was rendered.
        """
        cached = self._by_destination.get(destination)
        if cached is None:
            cached = self._by_destination[destination] = _DestinationCache()
        if notification.id in cached.entries:
            self.remove(destination, notification.id)
        if self.evict_oldest and characters <= self._max_characters:
            while cached.entries and not self._fits(cached, characters):
                self.remove(destination, next(iter(cached.entries)))
        if not self._fits(cached, characters):
            return False
        cached.entries[notification.id] = notification, characters, secrets
        cached.characters += characters
        return True

    def _fits(self, cached: _DestinationCache, characters: int) -> bool:
        return (
            len(cached.entries) < self._max_notifications
            and cached.characters + characters <= self._max_characters
        )

    def get(self, destination: str, notification_id: str) -> Notification | None:
        """The notification; None if it is not cached, or new secrets became known since it was cached."""
        cached = self._by_destination.get(destination)
        entry = None if cached is None else cached.entries.get(notification_id)
        return None if entry is None or entry[2] != secrets_generation() else entry[0]

    def remove(self, destination: str, notification_id: str) -> None:
        """Removes a settled notification; does nothing if it is not cached."""
        cached = self._by_destination.get(destination)
        if cached is not None and (entry := cached.entries.pop(notification_id, None)):
            cached.characters -= entry[1]

    def remove_all(self, destination: str) -> None:
        """Removes all notifications of this destination."""
        self._by_destination.pop(destination, None)

    def clear(self) -> None:
        """Removes everything, for when the content of the store is uncertain."""
        self._by_destination.clear()
