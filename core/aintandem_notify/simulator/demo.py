"""Creates activity: a realistic day for newcomers, and one event of each type for tests."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.world.plans import PlannedOutcome
from aintandem_notify.simulator.world.tasks import ENDED_STATUSES

SUBSCRIBER_WAIT_S: Final = 10.0
"""Real seconds that the demo waits for a subscriber. Earlier events would reach nobody."""

PROJECT_STAGGER_S: Final = 2.0
"""World seconds between the starts of two projects, so that their events do not coincide."""

EVERYDAY_PAUSE_S: Final = (12.0, 30.0)
"""World seconds between two scenes after the opening, shortest and longest."""

ALL_TYPES_RUN_S: Final = 0.02
"""Real seconds that a run of ``all_types`` takes, independent of the simulator's speed."""


async def _quick_success(simulator: Simulator, project_id: str) -> None:
    simulator.tasks.submit(project_id, outcome=PlannedOutcome.COMPLETED, seconds=3)


async def _failure(simulator: Simulator, project_id: str) -> None:
    simulator.tasks.submit(project_id, outcome=PlannedOutcome.FAILED, seconds=5)


async def _task(simulator: Simulator, project_id: str) -> None:
    simulator.tasks.submit(project_id)


async def _cancelled(simulator: Simulator, project_id: str) -> None:
    record = simulator.tasks.submit(project_id, outcome=PlannedOutcome.COMPLETED, seconds=20)
    await simulator.world.pause(6)
    # A user may have ended it over REST meanwhile.
    if record.status not in ENDED_STATUSES:
        simulator.tasks.cancel(project_id, record.id)


async def _workflow(simulator: Simulator, project_id: str) -> None:
    simulator.workflows.start(simulator.workflows.create(project_id).id)


async def _paused_workflow(simulator: Simulator, project_id: str) -> None:
    record = simulator.workflows.create(project_id, outcome=PlannedOutcome.COMPLETED, pauses=True, seconds=12)
    simulator.workflows.start(record.id)


async def _failing_workflow(simulator: Simulator, project_id: str) -> None:
    record = simulator.workflows.create(project_id, outcome=PlannedOutcome.FAILED, pauses=False, seconds=8)
    simulator.workflows.start(record.id)


async def _sandbox(simulator: Simulator, project_id: str) -> None:
    await _run_sandbox(simulator, project_id, breaks=False)


async def _breaking_sandbox(simulator: Simulator, project_id: str) -> None:
    await _run_sandbox(simulator, project_id, breaks=True)


async def _run_sandbox(simulator: Simulator, project_id: str, *, breaks: bool) -> None:
    record = simulator.sandboxes.create(project_id, breaks=False)
    await simulator.world.pause(record.plan.pull + record.plan.boot)
    try:
        simulator.sandboxes.start(record.id)
        await simulator.world.pause(8)
        if breaks:
            simulator.sandboxes.break_down(record.id)
        else:
            simulator.sandboxes.stop(record.id)
    except ApiError:
        return  # a user started, stopped or removed it over REST meanwhile


Scene = Callable[[Simulator, str], Awaitable[None]]

OPENING: Final[Sequence[tuple[float, Scene]]] = (
    (0.3, _quick_success),
    (4, _failure),
    (4, _sandbox),
    (5, _paused_workflow),
    (8, _breaking_sandbox),
    (8, _failing_workflow),
    (6, _cancelled),
)
"""World seconds to wait, and the scene that follows: one of each kind within the first minute."""

EVERYDAY: Final[Sequence[Scene]] = (
    _task,
    _task,
    _task,
    _workflow,
    _sandbox,
    _breaking_sandbox,
    _cancelled,
)
"""Scenes after the opening, drawn at random; tasks more often than others."""


async def run_demo(simulator: Simulator, projects: Sequence[str]) -> None:
    """Keep the projects busy until cancelled. Begins once there is a subscriber."""
    with trio.move_on_after(SUBSCRIBER_WAIT_S):
        await simulator.subscriptions.wait_for(None, at_least=1)
    async with trio.open_nursery() as nursery:
        for project_id in dict.fromkeys(projects):
            nursery.start_soon(_keep_busy, simulator, project_id)
            await simulator.world.pause(PROJECT_STAGGER_S)


async def _keep_busy(simulator: Simulator, project_id: str) -> None:
    chance = simulator.world.chance(project_id)
    async with trio.open_nursery() as nursery:
        for wait, scene in OPENING:
            await simulator.world.pause(wait)
            nursery.start_soon(scene, simulator, project_id)
        while True:
            await simulator.world.pause(chance.uniform(*EVERYDAY_PAUSE_S))
            nursery.start_soon(chance.choice(EVERYDAY), simulator, project_id)


async def all_types(simulator: Simulator, project_id: str) -> dict[str, str]:
    """Cause each of the 20 event types at least once, quickly, and wait until all have happened.

    Returns the id of the run that ended with each terminal type, as ``{"task_failed": "task-…"}``.
    """
    run_seconds = ALL_TYPES_RUN_S * simulator.world.speed
    ids: dict[str, str] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_all_task_types, simulator, project_id, run_seconds, ids)
        nursery.start_soon(_all_workflow_types, simulator, project_id, run_seconds, ids)
        _all_sandbox_types(simulator, project_id, ids)
    return ids


async def _all_task_types(simulator: Simulator, project_id: str, run_seconds: float, ids: dict[str, str]) -> None:
    tasks = simulator.tasks
    cancelled = tasks.submit(project_id, seconds=3600 * simulator.world.speed)
    tasks.cancel(project_id, cancelled.id)
    completed = tasks.submit(project_id, outcome=PlannedOutcome.COMPLETED, seconds=run_seconds)
    failed = tasks.submit(project_id, outcome=PlannedOutcome.FAILED, seconds=run_seconds)
    await completed.ended.wait()
    await failed.ended.wait()
    ids |= {"task_cancelled": cancelled.id, "task_completed": completed.id, "task_failed": failed.id}


async def _all_workflow_types(
    simulator: Simulator, project_id: str, run_seconds: float, ids: dict[str, str]
) -> None:
    workflows = simulator.workflows
    completed = workflows.create(project_id, outcome=PlannedOutcome.COMPLETED, pauses=True, seconds=run_seconds)
    failed = workflows.create(project_id, outcome=PlannedOutcome.FAILED, pauses=False, seconds=run_seconds)
    workflows.start(completed.id)
    workflows.start(failed.id)
    await completed.ended.wait()
    await failed.ended.wait()
    ids |= {"workflow_execution_completed": completed.id, "workflow_execution_failed": failed.id}


def _all_sandbox_types(simulator: Simulator, project_id: str, ids: dict[str, str]) -> None:
    sandboxes = simulator.sandboxes
    stopped, broken = (sandboxes.create(project_id, breaks=False) for _ in range(2))
    sandboxes.start(stopped.id)
    sandboxes.start(broken.id)
    sandboxes.stop(stopped.id)
    sandboxes.break_down(broken.id)
    ids |= {"sandbox_stopped": stopped.id, "sandbox_error": broken.id}
