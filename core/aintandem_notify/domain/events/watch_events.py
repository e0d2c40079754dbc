"""The events of watches: about something that does not happen, or not in time, and about its end.

They make no runs of their own: ``kind`` and ``about`` name the run that they are about.
"""

from typing import ClassVar, Final

from aintandem_notify.domain.events.base import Event, Family
from aintandem_notify.domain.events.field_types import Id, LocalText, Moment


class WatchEvent(Event):
    """Base of the 7 events of watches; ``watch`` is the name of the watch.

    ``about`` is the id of the run, ``kind`` is task, workflow or sandbox, ``attempt`` counts from 1. Both texts
    are empty if there is no run. The event came ``late_by`` seconds late, because the agent or its link was down.
    """

    family = Family.WATCH
    identity: ClassVar[frozenset[str]] = Event.identity | {"watch", "kind", "about", "attempt"}
    project_id: Id
    watch: LocalText = ""
    kind: LocalText = ""
    about: LocalText = ""
    attempt: int = 1
    late_by: float = 0.0


class RunStalledEvent(WatchEvent, tag="run_stalled"):
    """A run has been silent for ``seconds``; with ``no_progress`` it is not silent, but does not get on.

    The time in which the agent could not hear anything does not count. ``step`` and ``progress`` (percent) are the
    last ones; ``usual`` is the median of the last durations in seconds, None if there are too few.
    """

    seconds: float = 0.0
    no_progress: bool = False
    step: LocalText | None = None
    progress: float | None = None
    usual: float | None = None


class RunOverdueEvent(WatchEvent, tag="run_overdue"):
    """A run has been running for ``seconds``, longer than ``allowed``; ``usual`` as in ``RunStalledEvent``."""

    seconds: float = 0.0
    allowed: float = 0.0
    step: LocalText | None = None
    progress: float | None = None
    usual: float | None = None


class RunWaitingEvent(WatchEvent, tag="run_waiting"):
    """A run has been queued or paused (``state``) for ``seconds``; ``reminder`` counts from 0."""

    state: LocalText = ""
    seconds: float = 0.0
    reminder: int = 0


class RunMissingEvent(WatchEvent, tag="run_missing"):
    """No run that ``pattern`` names has started; it was expected at ``expected_at``.

    ``missed`` counts the times at which one was expected since ``last_at``, when the last one started (None: never
    seen).
    """

    pattern: LocalText = ""
    expected_at: Moment | None = None
    last_at: Moment | None = None
    missed: int = 1


class RunTooFastEvent(WatchEvent, tag="run_too_fast"):
    """A run succeeded after ``seconds``, sooner than ``allowed``; ``usual`` as in ``RunStalledEvent``."""

    seconds: float = 0.0
    allowed: float = 0.0
    usual: float | None = None


class RunMovingEvent(WatchEvent, tag="run_moving"):
    """A run moves again, ``seconds`` after the event ``begun_by`` (its key) of the type ``trouble``."""

    trouble: LocalText = ""
    seconds: float = 0.0
    begun_by: LocalText = ""


class RunArrivedEvent(WatchEvent, tag="run_arrived"):
    """The run that ``begun_by`` (the key of an event) missed has started, ``seconds`` after ``expected_at``."""

    pattern: LocalText = ""
    expected_at: Moment | None = None
    seconds: float = 0.0
    begun_by: LocalText = ""


WATCH_TROUBLE_TYPES: Final = frozenset(
    {"run_stalled", "run_overdue", "run_waiting", "run_missing", "run_too_fast"}
)
"""The types of trouble that watches find."""

WATCH_END_TYPES: Final = frozenset({"run_moving", "run_arrived"})
"""The types of the ends of such trouble; it also ends with its run."""
