"""Which events a subscription wants, and which of a batch go to whom. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from aintandem_notify.domain.events import Event, Family, WorkflowEvent
from aintandem_notify.orchestrator import checked_id

_ID_FIELDS: Final[Mapping[Family, tuple[str, ...]]] = {
    Family.TASK: ("taskId",),
    Family.WORKFLOW: ("executionId",),
    Family.SANDBOX: ("sandboxId", "containerId"),
}
"""Where an event of a type that we do not know may name its run."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which of a project's events are wanted; None is no condition, and no condition at all is every event.

    ``run_id`` is the id of the task, the execution or the sandbox, as ``family`` says. ``workflow_id`` is for
    workflow events. An event of a type that this version does not know is wanted by whoever wants everything,
    or the very run that it names.
    """

    family: Family | None = None
    run_id: str | None = None
    workflow_id: str | None = None

    def wants(self, event: Event) -> bool:
        """Whether ``event`` is one of these."""
        if self.family is None:
            return True
        if event.family is not self.family:
            return event.family is Family.UNKNOWN and self.run_id is not None and self._names_run(event)
        if self.run_id is not None and event.run_id != self.run_id:
            return False
        return self.workflow_id is None or (
            isinstance(event, WorkflowEvent) and event.workflow_id == self.workflow_id
        )

    def _names_run(self, event: Event) -> bool:
        assert self.family is not None  # noqa: S101  # the only caller has asked
        wire = event.wire()
        if self.workflow_id is not None and wire.get("workflowId") != self.workflow_id:
            return False
        return any(wire.get(field) == self.run_id for field in _ID_FIELDS[self.family])


TASKS: Final = RunFilter(Family.TASK)
"""Every task of the project."""


def interest_in(
    *,
    task_id: str | None = None,
    workflow_id: str | None = None,
    execution_id: str | None = None,
    sandbox_id: str | None = None,
) -> RunFilter:
    """The interest that the arguments of the public calls mean.

    Raises ValueError for more than one kind, and TypeError or ValueError for what cannot be an id.
    """
    workflows = {"workflow_id": workflow_id, "execution_id": execution_id}
    for what, identifier in {"task_id": task_id, "sandbox_id": sandbox_id, **workflows}.items():
        if identifier is not None:
            checked_id(identifier, what)
    workflow = workflow_id is not None or execution_id is not None
    if sum((task_id is not None, workflow, sandbox_id is not None)) > 1:
        raise ValueError("ask for a task, a workflow or a sandbox, or for nothing to get them all")
    if task_id is not None:
        return RunFilter(Family.TASK, task_id)
    if workflow:
        return RunFilter(Family.WORKFLOW, execution_id, workflow_id)
    return RunFilter(Family.SANDBOX, sandbox_id) if sandbox_id is not None else RunFilter()


class Interested(Protocol):
    """Whoever wants events."""

    @property
    def interest(self) -> RunFilter:
        """Which ones; may be narrowed, but its key stays where it was added."""
        ...


_NOBODY: Final[list[Any]] = []

WhoT = TypeVar("WhoT", bound=Interested)


class Routes(Generic[WhoT]):
    """Who gets what of a batch. One run among thousands that are wanted costs no more than one among few."""

    def __init__(self) -> None:
        self.everybody: dict[WhoT, RunFilter] = {}
        self._by_run: dict[str, list[WhoT]] = {}

    def add(self, who: WhoT) -> None:
        """From now on ``who`` gets what it wants."""
        interest = self.everybody[who] = who.interest
        if interest.run_id is not None:
            self._by_run.setdefault(interest.run_id, []).append(who)

    def remove(self, who: WhoT) -> None:
        """Undo ``add``; nothing happens if that was done already."""
        interest = self.everybody.pop(who, None)
        if interest is not None and interest.run_id is not None:
            self._by_run[interest.run_id].remove(who)
            if not self._by_run[interest.run_id]:
                del self._by_run[interest.run_id]

    def sort(self, events: Sequence[Event]) -> dict[WhoT, Sequence[Event]]:
        """What each gets, in order; who gets nothing is left out. The batch itself may be shared: only read it."""
        found: dict[WhoT, Sequence[Event]] = {}
        for who, interest in self.everybody.items():
            if interest.family is None:
                found[who] = events
            elif interest.run_id is None and (wanted := [event for event in events if interest.wants(event)]):
                found[who] = wanted
        if self._by_run:
            for who, event in self._by_the_run(events):
                piece = found.setdefault(who, [])
                assert isinstance(piece, list)  # noqa: S101  # made here
                piece.append(event)
        return found

    def _by_the_run(self, events: Sequence[Event]) -> list[tuple[WhoT, Event]]:
        pairs: list[tuple[WhoT, Event]] = []
        for event in events:
            if event.family is Family.UNKNOWN:
                candidates = [who for group in self._by_run.values() for who in group]
            else:
                candidates = self._by_run.get(event.run_id or "", _NOBODY)
            if candidates:
                pairs += [(who, event) for who in candidates if self.everybody[who].wants(event)]
        return pairs
