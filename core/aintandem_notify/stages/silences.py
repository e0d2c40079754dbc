"""A silence: holds the notifications that it matches until it expires or is ended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.rules.globs import is_named
from aintandem_notify.stages.facts import Facts

MIN_LEAD: Final = timedelta(minutes=1)
MAX_LEAD: Final = timedelta(minutes=15)
"""The time before the end of a silence at which people are told of it; time to make it longer."""

MATCHER_NAMES: Final = ("project", "task", "workflow", "sandbox", "rule", "destination", "type")
"""The names that a silence can match, each with a glob."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence. ``matchers`` has a glob for each name; all must match.

    A glob for ``project`` matches the id or the name; those for ``task`` and ``sandbox`` match the id or the name
    of a run of that kind; one for ``workflow`` matches the tasks of the workflow, too.
    """

    id: str
    matchers: Mapping[str, str]
    begins_at: datetime
    expires_at: datetime
    owner: str = ""
    reason: str = ""
    is_announced: bool = False
    """People were told that it ends soon."""

    @property
    def announced_from(self) -> datetime:
        """The time at which people are told that it ends soon: a tenth of its time before, 1 to 15 minutes.

        Of a short one, half of its time before.
        """
        length = self.expires_at - self.begins_at
        lead = min(max(length / 10, MIN_LEAD), MAX_LEAD, length / 2)
        return self.expires_at - lead

    def is_active(self, at: datetime) -> bool:
        """True from its beginning until it expires."""
        return self.begins_at <= at < self.expires_at

    def matches(self, facts: Facts) -> bool:
        """True if all matchers match. Events of the agent itself are matched only by a glob for ``type``."""
        if facts.is_agent_event and "type" not in self.matchers:
            return False
        return all(is_named(glob, facts.values(name)) for name, glob in self.matchers.items())


def silence_of(facts: Facts, silences: Iterable[Silence], at: datetime) -> Silence | None:
    """The silence that holds the notification for the longest time; None if there is none."""
    holding = [silence for silence in silences if silence.is_active(at) and silence.matches(facts)]
    return max(holding, key=lambda silence: (silence.expires_at, silence.id), default=None)
