"""The failure of a run, made up to find out who would hear of it: they hear of the watch's events by default."""

from dataclasses import replace

from aintandem_notify.domain.events import (
    Event,
    Family,
    SandboxErrorEvent,
    TaskFailedEvent,
    WatchEvent,
    WorkflowExecutionFailedEvent,
)
from aintandem_notify.domain.runs import Run, RunState
from aintandem_notify.rules.facts import event_field


def made_up_failure(event: WatchEvent, run: Run | None) -> tuple[Event, Run]:
    """The failure of the run that the event is about, and the run after it.

    A run that has not come yet is made up, too: with the name for which the watch looks.
    """
    if run is None:
        name = event_field(event, "pattern") or event.watch or "?"
        kind = Family(event.kind) if event.kind in (Family.WORKFLOW, Family.SANDBOX) else Family.TASK
        run = Run(event.project_id, kind, name, name=name, workflow_id=name if kind is Family.WORKFLOW else None)
    run = replace(run, state=RunState.FAILED, ended_at=event.timestamp)
    match run.kind:
        case Family.WORKFLOW:
            failure: Event = WorkflowExecutionFailedEvent(
                timestamp=event.timestamp,
                project_id=event.project_id,
                execution_id=run.id,
                workflow_id=run.workflow_id or run.id,
            )
        case Family.SANDBOX:
            failure = SandboxErrorEvent(timestamp=event.timestamp, project_id=event.project_id, sandbox_id=run.id)
        case _:
            failure = TaskFailedEvent(
                timestamp=event.timestamp, project_id=event.project_id, task_id=run.id, task=run.name
            )
    return failure, run
