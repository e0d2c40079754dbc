"""Asks REST how one task or workflow execution stands. Sandboxes have no such call; they stand in a list."""

from collections.abc import Awaitable, Callable

from aintandem_notify.domain.events import Family
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.runs import RunRef, RunState
from aintandem_notify.errors import NotFound
from aintandem_notify.orchestrator.catch_up.record_mapping import execution_observation, task_observation
from aintandem_notify.orchestrator.protocol.identifiers import InvalidId
from aintandem_notify.orchestrator.rest.records import ExecutionRecord, TaskRecord


async def look_up_run(
    ref: RunRef,
    task: Callable[[str, str], Awaitable[TaskRecord]],
    execution: Callable[[str], Awaitable[ExecutionRecord]],
    *,
    whole: bool = False,
) -> Observation | None:
    """The run as REST has it, GONE if the orchestrator does not know it; None if its status is unknown.

    ``task`` and ``execution`` request a record. ``whole``: texts are kept as they came. Raises ApiError (NotFound
    if a proxy gave the answer) or HttpFailed.
    """
    try:
        if ref.kind is Family.TASK:
            observation = task_observation(ref.project_id, await task(ref.project_id, ref.id), whole=whole)
        else:
            observation = execution_observation(ref.project_id, await execution(ref.id), whole=whole)
    except InvalidId:
        return Observation(ref, RunState.GONE)
    except NotFound as error:
        if not error.is_from_api:
            raise
        return Observation(ref, RunState.GONE)
    return observation if observation is not None and observation.ref == ref else None
