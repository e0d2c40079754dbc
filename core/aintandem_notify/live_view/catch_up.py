"""Asks REST how runs ended that were in progress when a connection was lost."""

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
from aintandem_notify.orchestrator.catch_up.record_mapping import sandbox_observations
from aintandem_notify.orchestrator.catch_up.run_lookup import look_up_run
from aintandem_notify.orchestrator.rest.records import OperationRecord

FinalEvents = Mapping[RunRef, Sequence[Event]]
"""Final events by run. No events: the orchestrator does not know the run any more, or such an end has no event."""

_KINDS: Final = (Family.TASK, Family.WORKFLOW, Family.SANDBOX)


async def fetch_final_events(
    client: AInTandemClient, project_id: str, unfinished_runs: Iterable[RunRef], now: datetime
) -> FinalEvents:
    """The final events of those of a project's runs that have ended.

    Leaves out runs that REST cannot report now.
    """
    runs = list(unfinished_runs)
    final_events: dict[RunRef, Sequence[Event]] = {}
    for kind in _KINDS:
        refs = [ref for ref in runs if ref.kind is kind]
        with suppress(ApiError, HttpFailed):
            if kind is Family.SANDBOX and refs:
                final_events |= _final_events(await _sandboxes(client, project_id, refs), now)
                continue
            for ref in refs:
                final_events |= await _fetch_end(client, ref, now)
    return final_events


async def _fetch_end(client: AInTandemClient, ref: RunRef, now: datetime) -> FinalEvents:
    observation = await look_up_run(ref, client.tasks.get_task, client.workflows.get_execution)
    return _final_events([] if observation is None else [observation], now)


async def _sandboxes(client: AInTandemClient, project_id: str, refs: Sequence[RunRef]) -> list[Observation]:
    sandboxes = await client.sandboxes.list()
    operations: list[OperationRecord] = []
    with suppress(NotFound):  # an orchestrator without operations
        operations = await client.sandboxes.operations(project_id)
    observations = sandbox_observations(project_id, sandboxes, operations, refs)
    return [observation for observation in observations if observation.ref in refs]


def _final_events(observations: Iterable[Observation], now: datetime) -> FinalEvents:
    return {
        observation.ref: end_events(observation, now)
        for observation in observations
        if observation.state in TERMINAL_STATES
    }
