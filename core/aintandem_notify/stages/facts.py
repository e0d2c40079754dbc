"""The facts about a notification at one destination by which the stages decide."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from aintandem_notify.domain.events import (
    WATCH_END_TYPES,
    WATCH_TROUBLE_TYPES,
    Family,
    RunMissingEvent,
    WatchEvent,
)
from aintandem_notify.domain.notification import Notification, Severity

_WATCH_TYPES: Final = WATCH_TROUBLE_TYPES | WATCH_END_TYPES


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one notification at one destination. Texts are empty where the event has none.

    ``family`` is the kind of the run that an event of a watch is about, not that of the event.
    """

    rule: str
    destination: str
    event_type: str
    family: str
    severity: Severity
    project_id: str = ""
    project_name: str = ""
    run_id: str = ""
    run_name: str = ""
    workflow_id: str = ""

    @classmethod
    def of(cls, notification: Notification, destination: str) -> Self:
        """The facts about ``notification`` at ``destination``."""
        event, run, project = notification.event, notification.run, notification.project
        family, run_name = event.family.value, run.name if run is not None else ""
        if isinstance(event, WatchEvent):
            family = event.kind or family
            if isinstance(event, RunMissingEvent):
                run_name = event.pattern
        return cls(
            notification.rule,
            destination,
            event.type,
            family,
            notification.severity,
            project_id=event.project_id or "",
            project_name=project.name if project is not None else "",
            run_id=run.id if run is not None else "",
            run_name=run_name,
            workflow_id=(run.workflow_id or "") if run is not None else "",
        )

    @property
    def is_agent_event(self) -> bool:
        """True for an event about the agent itself."""
        return self.family == Family.AGENT

    @property
    def is_of_watch(self) -> bool:
        """True for an event of a watch."""
        return self.event_type in _WATCH_TYPES

    @property
    def folding_severity(self) -> Severity | None:
        """The severity by which a backlog is folded into a summary; None for an event that never is."""
        return None if self.is_of_watch else self.severity

    def values(self, name: str) -> Iterable[str]:
        """The texts that a silence's matcher ``name`` is compared with; none that are empty."""
        values: tuple[str, ...]
        match name:
            case "project":
                values = (self.project_id, self.project_name)
            case "task":
                values = (self.run_id, self.run_name) if self.family == Family.TASK else ()
            case "workflow":
                # A task of the workflow counts, too.
                values = (self.workflow_id, self.run_id) if self.family == Family.WORKFLOW else (self.workflow_id,)
            case "sandbox":
                values = (self.run_id, self.run_name) if self.family == Family.SANDBOX else ()
            case "type":
                family = Family.WATCH.value if self.is_of_watch else self.family
                values = (self.event_type, f"{family}/{self.event_type}")
            case _:
                values = (self.rule,) if name == "rule" else (self.destination,)
        return filter(None, values)
