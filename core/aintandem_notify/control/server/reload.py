"""Answers ``POST /reload``: asks the agent to read its config again, and reports the outcome."""

from typing import Final

import trio

from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.schemas import NotRunningResponse, ProblemResponse, ReloadResponse
from aintandem_notify.control.server.access import AgentAccess
from aintandem_notify.domain.reload import ReloadAbandonedError, ReloadResult
from aintandem_notify.plugins import InstanceState

SET_UP_TIMEOUT_S: Final = 10.0
"""Seconds that instances may take to be set up before the answer counts them as not running."""


async def reload_config(access: AgentAccess) -> ReloadResponse:
    """Returns the outcome once the reload is over, and the instances that it started are set up.

    It waits for earlier reloads, and for the start of the agent. Raises RequestRefused if the agent stops.
    """
    try:
        result = await access.reload()
    except ReloadAbandonedError:
        raise RequestRefused("the agent is stopping, so it does not read its config again", status=503) from None
    started = {*result.started, *result.restarted}
    if started:
        with trio.move_on_after(SET_UP_TIMEOUT_S):
            await access.wait_set_up()
    return _response(
        result,
        tuple(
            NotRunningResponse(name=instance.name, reason=instance.reason or f"it is {instance.state}")
            for instance in access.plugins()
            if instance.name in started and instance.state is not InstanceState.LOADED
        ),
    )


def _response(result: ReloadResult, not_running: tuple[NotRunningResponse, ...]) -> ReloadResponse:
    return ReloadResponse(
        taken=result.is_taken,
        at=result.at,
        config=result.config,
        problems=tuple(
            ProblemResponse(file=result.config, line=problem.line, key=problem.key, sentence=problem.message)
            for problem in result.problems
        ),
        restart_needed=result.restart_needed,
        started=result.started,
        stopped=result.stopped,
        restarted=result.restarted,
        not_running=not_running,
        projects_added=result.projects_added,
        projects_removed=result.projects_removed,
        changed=result.changed,
    )
