"""Faults that are waiting to happen: how many of the next requests, logins and frames go wrong."""

from dataclasses import dataclass


@dataclass(slots=True)
class Faults:
    """Counters that run down to 0; all 0: everything works."""

    failures: int = 0
    failure_status: int = 503
    refused_logins: int = 0
    duplicates: int = 0
    delays: int = 0
    delay_s: float = 0.0

    def take_delay(self) -> float:
        """Real seconds that this request has to wait."""
        if self.delays <= 0:
            return 0.0
        self.delays -= 1
        return self.delay_s

    def take_failure(self) -> int | None:
        """The status that this request fails with, None when it does not."""
        if self.failures <= 0:
            return None
        self.failures -= 1
        return self.failure_status

    def take_refused_login(self) -> bool:
        """Whether this login is refused, right as it may be."""
        if self.refused_logins <= 0:
            return False
        self.refused_logins -= 1
        return True

    def take_copies(self) -> int:
        """How many times this frame is sent."""
        if self.duplicates <= 0:
            return 1
        self.duplicates -= 1
        return 2
