"""What became of runs that were under way when a connection was lost, as REST tells it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from aintandem_notify.client import AInTandemClient
from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.reconciliation import end_events
from aintandem_notify.domain.runs import TERMINAL_STATES, RunRef
from aintandem_notify.errors import ApiError, HttpFailed, NotFound
from aintandem_notify.orchestrator import InvalidId
from aintandem_notify.orchestrator.catch_up.record_mapping import (
    execution_observation,
    sandbox_observations,
    task_observation,
)
from aintandem_notify.orchestrator.rest.records import OperationRecord

FinalEvents = Mapping[RunRef, Sequence[Event]]
"""How runs ended; no events: nobody knows the run any more, or no event tells of such an end."""

_KINDS: Final = (Family.TASK, Family.WORKFLOW, Family.SANDBOX)


async def fetch_final_events(
    client: AInTandemClient, project_id: str, unfinished_runs: Iterable[RunRef], now: datetime
) -> FinalEvents:
    """Those of one project's runs that are under way no more; what cannot be asked now is left out."""
    asked = list(unfinished_runs)
    found: dict[RunRef, Sequence[Event]] = {}
    for kind in _KINDS:
        refs = [ref for ref in asked if ref.kind is kind]
        with suppress(ApiError, HttpFailed):
            if kind is Family.SANDBOX and refs:
                found |= _ended(await _sandboxes(client, project_id, refs), now)
                continue
            for ref in refs:
                found |= await _end(client, ref, now)
    return found


async def _end(client: AInTandemClient, ref: RunRef, now: datetime) -> FinalEvents:
    try:
        if ref.kind is Family.TASK:
            seen = task_observation(ref.project_id, await client.tasks.get_task(ref.project_id, ref.id))
        else:
            seen = execution_observation(ref.project_id, await client.workflows.get_execution(ref.id))
    except (NotFound, InvalidId):
        return {ref: ()}
    return _ended([] if seen is None else [seen], now)


async def _sandboxes(client: AInTandemClient, project_id: str, refs: Sequence[RunRef]) -> list[Observation]:
    listed = await client.sandboxes.list()
    operations: list[OperationRecord] = []
    with suppress(NotFound):  # an orchestrator without operations
        operations = await client.sandboxes.operations(project_id)
    seen = sandbox_observations(project_id, listed, operations, refs)
    return [one for one in seen if one.ref in refs]


def _ended(seen: Iterable[Observation], now: datetime) -> FinalEvents:
    return {one.ref: end_events(one, now) for one in seen if one.state in TERMINAL_STATES}
