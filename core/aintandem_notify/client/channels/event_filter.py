"""Selects events for subscriptions, and splits a batch by subscriber. Pure."""

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
"""Fields in which an event of an unknown type may name its run."""


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    """Selects events of a project. None means no condition, so that the empty filter matches every event.

    ``run_id`` is the id of a task, an execution or a sandbox, depending on ``family``. ``workflow_id`` applies to
    workflow events. An event of an unknown type matches the empty filter, and a filter for the run that it names.
    """

    family: Family | None = None
    run_id: str | None = None
    workflow_id: str | None = None

    def matches(self, event: Event) -> bool:
        """Whether the filter selects ``event``."""
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
        assert self.family is not None  # noqa: S101  # the only caller has checked
        wire = event.wire()
        if self.workflow_id is not None and wire.get("workflowId") != self.workflow_id:
            return False
        return any(wire.get(field) == self.run_id for field in _ID_FIELDS[self.family])


ALL_TASKS: Final = SubscriptionFilter(Family.TASK)
"""Selects the events of all tasks of a project."""


def filter_from_ids(
    *,
    task_id: str | None = None,
    workflow_id: str | None = None,
    execution_id: str | None = None,
    sandbox_id: str | None = None,
) -> SubscriptionFilter:
    """The filter for the ids that a public call was given.

    Raises ValueError for ids of more than one kind, and TypeError or ValueError for an invalid id.
    """
    workflows = {"workflow_id": workflow_id, "execution_id": execution_id}
    for name, identifier in {"task_id": task_id, "sandbox_id": sandbox_id, **workflows}.items():
        if identifier is not None:
            validate_id(identifier, name)
    workflow = workflow_id is not None or execution_id is not None
    if sum((task_id is not None, workflow, sandbox_id is not None)) > 1:
        raise ValueError("give the id of one task, workflow or sandbox, or none to get all events")
    if task_id is not None:
        return SubscriptionFilter(Family.TASK, task_id)
    if workflow:
        return SubscriptionFilter(Family.WORKFLOW, execution_id, workflow_id)
    return SubscriptionFilter(Family.SANDBOX, sandbox_id) if sandbox_id is not None else SubscriptionFilter()


class Subscriber(Protocol):
    """Receives the events that its filter selects."""

    @property
    def event_filter(self) -> SubscriptionFilter:
        """The filter; ``SubscriberIndex`` uses the one at the time of ``add``."""
        ...


_NOBODY: Final[list[Any]] = []

SubscriberT = TypeVar("SubscriberT", bound=Subscriber)


class SubscriberIndex(Generic[SubscriberT]):
    """Splits batches by subscriber.

    Filters for one run are found by run id, so that thousands of them stay cheap.
    """

    def __init__(self) -> None:
        self.subscribers: dict[SubscriberT, SubscriptionFilter] = {}
        self._by_run_id: dict[str, list[SubscriberT]] = {}

    def add(self, subscriber: SubscriberT) -> None:
        """Add ``subscriber`` with its present filter."""
        event_filter = self.subscribers[subscriber] = subscriber.event_filter
        if event_filter.run_id is not None:
            self._by_run_id.setdefault(event_filter.run_id, []).append(subscriber)

    def remove(self, subscriber: SubscriberT) -> None:
        """Undo ``add``. No-op if ``subscriber`` is not in the index."""
        event_filter = self.subscribers.pop(subscriber, None)
        if event_filter is not None and event_filter.run_id is not None:
            self._by_run_id[event_filter.run_id].remove(subscriber)
            if not self._by_run_id[event_filter.run_id]:
                del self._by_run_id[event_filter.run_id]

    def split(self, events: Sequence[Event]) -> dict[SubscriberT, Sequence[Event]]:
        """The events of each subscriber in order, without subscribers that get none.

        Several subscribers may get the same list: do not change it.
        """
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
                assert isinstance(batch, list)  # noqa: S101  # a list made here
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
