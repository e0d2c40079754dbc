"""Which events a subscription wants, and which of a batch go to whom. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from aintandem_notify.domain.events import Event, Family, WorkflowEvent
from aintandem_notify.orchestrator import validate_id

_ID_FIELDS: Final[Mapping[Family, tuple[str, ...]]] = {
    Family.TASK: ("taskId",),
    Family.WORKFLOW: ("executionId",),
    Family.SANDBOX: ("sandboxId", "containerId"),
}
"""Where an event of a type that we do not know may name its run."""


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    """Which of a project's events are wanted; None is no condition, and no condition at all is every event.

    ``run_id`` is the id of the task, the execution or the sandbox, as ``family`` says. ``workflow_id`` is for
    workflow events. An event of a type that this version does not know is wanted by whoever wants everything,
    or the very run that it names.
    """

    family: Family | None = None
    run_id: str | None = None
    workflow_id: str | None = None

    def matches(self, event: Event) -> bool:
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


ALL_TASKS: Final = SubscriptionFilter(Family.TASK)
"""Every task of the project."""


def filter_from_ids(
    *,
    task_id: str | None = None,
    workflow_id: str | None = None,
    execution_id: str | None = None,
    sandbox_id: str | None = None,
) -> SubscriptionFilter:
    """The interest that the arguments of the public calls mean.

    Raises ValueError for more than one kind, and TypeError or ValueError for what cannot be an id.
    """
    workflows = {"workflow_id": workflow_id, "execution_id": execution_id}
    for what, identifier in {"task_id": task_id, "sandbox_id": sandbox_id, **workflows}.items():
        if identifier is not None:
            validate_id(identifier, what)
    workflow = workflow_id is not None or execution_id is not None
    if sum((task_id is not None, workflow, sandbox_id is not None)) > 1:
        raise ValueError("ask for a task, a workflow or a sandbox, or for nothing to get them all")
    if task_id is not None:
        return SubscriptionFilter(Family.TASK, task_id)
    if workflow:
        return SubscriptionFilter(Family.WORKFLOW, execution_id, workflow_id)
    return SubscriptionFilter(Family.SANDBOX, sandbox_id) if sandbox_id is not None else SubscriptionFilter()


class Subscriber(Protocol):
    """Whoever wants events."""

    @property
    def event_filter(self) -> SubscriptionFilter:
        """Which ones; may be narrowed, but its key stays where it was added."""
        ...


_NOBODY: Final[list[Any]] = []

SubscriberT = TypeVar("SubscriberT", bound=Subscriber)


class SubscriberIndex(Generic[SubscriberT]):
    """Who gets what of a batch. One run among thousands that are wanted costs no more than one among few."""

    def __init__(self) -> None:
        self.subscribers: dict[SubscriberT, SubscriptionFilter] = {}
        self._by_run_id: dict[str, list[SubscriberT]] = {}

    def add(self, subscriber: SubscriberT) -> None:
        """From now on ``who`` gets what it wants."""
        event_filter = self.subscribers[subscriber] = subscriber.event_filter
        if event_filter.run_id is not None:
            self._by_run_id.setdefault(event_filter.run_id, []).append(subscriber)

    def remove(self, subscriber: SubscriberT) -> None:
        """Undo ``add``; nothing happens if that was done already."""
        event_filter = self.subscribers.pop(subscriber, None)
        if event_filter is not None and event_filter.run_id is not None:
            self._by_run_id[event_filter.run_id].remove(subscriber)
            if not self._by_run_id[event_filter.run_id]:
                del self._by_run_id[event_filter.run_id]

    def split(self, events: Sequence[Event]) -> dict[SubscriberT, Sequence[Event]]:
        """What each gets, in order; who gets nothing is left out. The batch itself may be shared: only read it."""
        batches: dict[SubscriberT, Sequence[Event]] = {}
        for subscriber, event_filter in self.subscribers.items():
            if event_filter.family is None:
                batches[subscriber] = events
            elif event_filter.run_id is None and (
                matching := [event for event in events if event_filter.matches(event)]
            ):
                batches[subscriber] = matching
        if self._by_run_id:
            for subscriber, event in self._pairs_by_run(events):
                batch = batches.setdefault(subscriber, [])
                assert isinstance(batch, list)  # noqa: S101  # made here
                batch.append(event)
        return batches

    def _pairs_by_run(self, events: Sequence[Event]) -> list[tuple[SubscriberT, Event]]:
        pairs: list[tuple[SubscriberT, Event]] = []
        for event in events:
            if event.family is Family.UNKNOWN:
                candidates = [subscriber for group in self._by_run_id.values() for subscriber in group]
            else:
                candidates = self._by_run_id.get(event.run_id or "", _NOBODY)
            if candidates:
                pairs += [
                    (subscriber, event) for subscriber in candidates if self.subscribers[subscriber].matches(event)
                ]
        return pairs
