"""Trouble that can end: the event types that begin and end it, and the number by which both are found.

A failure is trouble of its subject: any later success of the same name ends it. A pause or a hang is trouble of
one run, since another run of the name may go on meanwhile.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.runs import STATE_AFTER, Run, RunState
from aintandem_notify.domain.subjects import subject_of

FAILURE_TYPES: Final = frozenset(name for name, state in STATE_AFTER.items() if state is RunState.FAILED)
"""Types that report a failure of a run."""

_PAUSED: Final = "workflow_execution_paused"
_STALLED, _OVERDUE, _WAITING = "run_stalled", "run_overdue", "run_waiting"
_MISSING, _TOO_FAST = "run_missing", "run_too_fast"
_MOVING, _ARRIVED = "run_moving", "run_arrived"
_OF_ONE_RUN: Final = frozenset({_PAUSED, _STALLED, _OVERDUE, _WAITING})

TROUBLE_TYPES: Final = FAILURE_TYPES | _OF_ONE_RUN | {_MISSING, _TOO_FAST}
"""Types that report trouble that can end."""

SUCCESS_TYPES: Final = frozenset(
    {event_type for event_type, state in STATE_AFTER.items() if state is RunState.COMPLETED} | {"sandbox_started"}
)
"""Types that report a success of a run. A sandbox works if it runs."""


class Ending(Enum):
    """The way in which trouble ends."""

    GOOD = auto()
    """It works again: whoever was told of the trouble is told."""
    SUPERSEDED = auto()
    """It has become other trouble, which is news of its own."""


_RUN_GOES_ON: Final = {_PAUSED: Ending.GOOD, _WAITING: Ending.GOOD}
_RUN_HAS_SUCCEEDED: Final = dict.fromkeys(sorted(_OF_ONE_RUN), Ending.GOOD)
_RUN_HAS_FAILED: Final = dict.fromkeys(sorted(_OF_ONE_RUN), Ending.SUPERSEDED)
_ENDINGS_OF_ONE_RUN: Final[Mapping[str, Mapping[str, Ending]]] = {
    "task_started": {_WAITING: Ending.GOOD},
    "workflow_execution_started": {_WAITING: Ending.GOOD},
    "workflow_execution_resumed": _RUN_GOES_ON,
    _MOVING: {_STALLED: Ending.GOOD},
    **dict.fromkeys(sorted(FAILURE_TYPES), _RUN_HAS_FAILED),
    "task_cancelled": _RUN_HAS_FAILED,
    **dict.fromkeys(sorted(SUCCESS_TYPES), _RUN_HAS_SUCCEEDED),
}
"""By the type of an event: the trouble of the same run that it ends."""

_MASKS: Final = {name: (index + 1) << 40 for index, name in enumerate(sorted(_OF_ONE_RUN))}
"""The number of the trouble of one run is that of the run with other bits: a hash for each would cost more."""

ENDING_TYPES: Final = frozenset(_ENDINGS_OF_ONE_RUN) | {_ARRIVED}
"""Types that may end trouble."""


def trouble_number(event: Event, run: Run | None) -> int | None:
    """The number of the trouble that the event reports, equal for all that one end ends; None if none."""
    if event.type not in TROUBLE_TYPES or event.project_id is None:
        return None
    if event.type == _MISSING:
        return _missing_number(event)
    if run is None:
        return None
    if event.type in _OF_ONE_RUN:
        return run_number(run) ^ _MASKS[event.type]
    return failure_number(run) if event.type in FAILURE_TYPES else _too_fast_number(run)


def failure_number(run: Run) -> int:
    """The number of the trouble that the failures of the run's subject are."""
    return subject_of(run.project_id, run.kind.value, run.name)


def run_number(run: Run) -> int:
    """The number of the run itself, for all its attempts."""
    return number_of_run(run.project_id, run.kind.value, run.id)


def number_of_run(project_id: str, kind: str, run_id: str) -> int:
    """As ``run_number``."""
    return subject_of(project_id, f"run {kind}", run_id)


def endings(event: Event, run: Run | None) -> dict[int, Ending]:
    """The trouble that the event ends, by number."""
    if event.type == _ARRIVED:
        return {_missing_number(event): Ending.GOOD}
    if run is None:
        return {}
    of_run = run_number(run)
    found = {of_run ^ _MASKS[name]: way for name, way in _ENDINGS_OF_ONE_RUN.get(event.type, {}).items()}
    if event.type in SUCCESS_TYPES:
        found[failure_number(run)] = Ending.GOOD
    if event.type == _MOVING:
        found[_too_fast_number(run)] = Ending.GOOD
    return found


def _too_fast_number(run: Run) -> int:
    return subject_of(run.project_id, f"{_TOO_FAST} {run.kind.value}", run.name)


def _missing_number(event: Event) -> int:
    return subject_of(event.project_id or "", _MISSING, str(getattr(event, "watch", "")))
