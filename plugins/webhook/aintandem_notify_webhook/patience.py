"""Decides how long a receiver may be missing before a person must look. Pure.

During a redeploy or behind a portal, another server answers for the receiver for some minutes. Such answers say
nothing about the message, and at first nothing about the config.
"""

import math
from typing import Final

PATIENCE_S: Final = 600.0
"""Seconds for which another server may answer in the receiver's place; longer than most redeploys."""

STREAK_GAP_S: Final = 3600.0
"""Seconds between two such answers that belong together; while anything is queued, the pauses are shorter."""


class Patience:
    """The time since which nothing but another server has answered. Times are trio's, in seconds."""

    def __init__(self) -> None:
        self._since = math.inf
        self._latest = -math.inf

    def is_over(self, now: float) -> bool:
        """Record that another server has answered. True if that began ``PATIENCE_S`` ago or earlier."""
        if now - self._latest > STREAK_GAP_S:
            self._since = now
        self._latest = now
        return now - self._since >= PATIENCE_S

    def renew(self) -> None:
        """Record that the receiver itself has answered."""
        self._latest = -math.inf
