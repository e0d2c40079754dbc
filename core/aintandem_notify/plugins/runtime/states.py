"""The states of an instance, and the transition after its lifespan has failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from aintandem_notify.errors import DestinationBroken, PluginNotReady
from aintandem_notify.foundation.backoff import Chance, stepped_delay
from aintandem_notify.plugins.border import PluginUnusable

RETRY_PAUSES_S: Final[Sequence[float]] = (1.0, 5.0, 15.0, 60.0, 300.0)
"""Seconds before an instance is set up again, by the number of its failures in a row."""
SILENT_FAILURES: Final = 2
"""Failures with PluginNotReady in a row that are not announced; a network that starts late is routine."""
STABLE_AFTER_S: Final = 300.0
"""Seconds after which a loaded instance counts as stable: its earlier failures are forgotten."""


class InstanceState(StrEnum):
    """The state of an instance."""

    LOADING = "loading"
    LOADED = "loaded"
    RETRYING = "retrying"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """An instance as shown by ``plugins list`` and the log.

    ``reason`` says why it is not loaded, or which call is overdue. ``dropped_events`` counts the events that its
    live hooks missed because they were too slow or not loaded; ``hook_errors`` counts exceptions of live hooks.
    """

    name: str
    state: InstanceState
    reason: str | None
    since: datetime
    destination: bool
    dropped_events: int = 0
    hook_errors: int = 0


@dataclass(frozen=True, slots=True)
class Transition:
    """The next state after a failure; ``pause_s`` is the wait before a new set-up, None for no new set-up."""

    state: InstanceState
    announce: bool
    pause_s: float | None


def transition_after(error: Exception, failures: int, chance: Chance) -> Transition:
    """The transition after ``error``, with ``failures`` failures in a row before it."""
    match error:
        case PluginUnusable() | DestinationBroken():
            return Transition(InstanceState.FAILED, announce=True, pause_s=None)
        case PluginNotReady():
            announce = failures >= SILENT_FAILURES
        case _:
            announce = True
    pause_s = stepped_delay(failures, pauses=RETRY_PAUSES_S, chance=chance)
    return Transition(InstanceState.RETRYING, announce, pause_s)
