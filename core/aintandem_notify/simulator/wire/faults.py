"""Counts the faults that are due: how many of the next requests, logins and frames go wrong."""

from dataclasses import dataclass


@dataclass(slots=True)
class Faults:
    """Counters of pending faults. Each use counts one down; with all at 0, everything works."""

    failures: int = 0
    failure_status: int = 503
    refused_logins: int = 0
    duplicates: int = 0
    delays: int = 0
    delay_s: float = 0.0

    def take_delay(self) -> float:
        """Real seconds by which this request is delayed."""
        if self.delays <= 0:
            return 0.0
        self.delays -= 1
        return self.delay_s

    def take_failure(self) -> int | None:
        """The status that this request fails with, or None."""
        if self.failures <= 0:
            return None
        self.failures -= 1
        return self.failure_status

    def take_refused_login(self) -> bool:
        """Whether to refuse this login, even if it is correct."""
        if self.refused_logins <= 0:
            return False
        self.refused_logins -= 1
        return True

    def take_copies(self) -> int:
        """The number of times to send this frame."""
        if self.duplicates <= 0:
            return 1
        self.duplicates -= 1
        return 2
