"""Reads over REST how a task or a workflow execution ended, for subscribers that missed the final event."""

from datetime import datetime

from aintandem_notify.client.channels.event_filter import SubscriptionFilter
from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.reconciliation import end_events
from aintandem_notify.orchestrator import OrchestratorApi
from aintandem_notify.orchestrator.catch_up.record_mapping import execution_observation, task_observation


async def fetch_final_event(
    api: OrchestratorApi, event_filter: SubscriptionFilter, project_id: str, now: datetime
) -> Event | None:
    """The final event of the filter's run, marked ``caught_up``, with its whole output.

    None while the run continues, and for a cancelled execution, which has no event. Raises ApiError (NotFound) or
    HttpFailed.
    """
    observation = await _observe(api, event_filter.family, event_filter.run_id or "", project_id)
    events = () if observation is None else end_events(observation, now)
    return events[-1] if events else None


async def _observe(
    api: OrchestratorApi, family: Family | None, run_id: str, project_id: str
) -> Observation | None:
    if family is Family.TASK:
        return task_observation(project_id, await api.task(project_id, run_id), whole=True)
    return execution_observation(project_id, await api.execution(run_id), whole=True)
