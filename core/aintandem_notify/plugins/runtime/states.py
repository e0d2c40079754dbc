"""The states of an instance, and what follows when one of its lives ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from aintandem_notify.errors import DestinationBroken, PluginNotReady
from aintandem_notify.foundation.backoff import Chance, stepped_delay
from aintandem_notify.plugins.border import PluginUnusable

RETRY_PAUSES_S: Final[Sequence[float]] = (1.0, 5.0, 15.0, 60.0, 300.0)
"""Seconds before an instance is set up again, by how often it has failed in a row."""
SILENT_FAILURES: Final = 2
"""How often an instance may be not ready before people are told; a network that comes up late is no news."""
STABLE_AFTER_S: Final = 300.0
"""Seconds that an instance must have been loaded for its earlier failures to be forgotten."""


class InstanceState(StrEnum):
    """Where an instance stands."""

    LOADING = "loading"
    LOADED = "loaded"
    RETRYING = "retrying"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """An instance as ``plugins list`` and the log show it.

    ``reason`` says why it is not loaded, or what holds it up. ``dropped_events`` counts what its live hooks
    did not see because they were too slow or not there; ``hook_errors`` how often one of them raised.
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
    """What follows a life that ended by itself; ``pause_s`` is None when only a person can help."""

    state: InstanceState
    announce: bool
    pause_s: float | None


def transition_after(fault: Exception, failures: int, chance: Chance) -> Transition:
    """What follows ``fault`` when ``failures`` lives in a row had failed before."""
    match fault:
        case PluginUnusable() | DestinationBroken():
            return Transition(InstanceState.FAILED, announce=True, pause_s=None)
        case PluginNotReady():
            announce = failures >= SILENT_FAILURES
        case _:
            announce = True
    pause_s = stepped_delay(failures, pauses=RETRY_PAUSES_S, chance=chance)
    return Transition(InstanceState.RETRYING, announce, pause_s)
