"""Plans a task, a workflow execution or a sandbox when it begins. Pure functions of a source of chance.

The same source of chance gives the same plan. All durations are in world seconds: ``World.pause`` divides them by
the simulator's speed.
"""

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, Literal

from aintandem_notify.simulator.world.texts import IMAGES, PROCESSES, RECIPES, SANDBOX_ERRORS, Process, Recipe

FAILURE_RATE: Final = 0.25
"""Share of tasks and workflows that fail if no outcome is requested; enough to see some."""

BREAKDOWN_RATE: Final = 0.3
"""Share of sandboxes that break."""

PAUSE_RATE: Final = 0.4
"""Share of workflows that wait for an approval."""


class PlannedOutcome(StrEnum):
    """The outcome of a task or workflow execution that nobody cancels."""

    COMPLETED = "completed"
    FAILED = "failed"


OutcomeOrName = PlannedOutcome | Literal["completed", "failed"]
"""An outcome, or its name."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of a task. ``seconds`` are spread evenly over its output lines."""

    id: str
    name: str
    seconds: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """The plan of a task. A failing task fails at the end of its last planned step.

    ``artifact`` is (path, type, size in bytes), or None. ``total_steps`` includes the steps that a failing task
    does not reach.
    """

    title: str
    wait: float
    steps: tuple[PlannedStep, ...]
    total_steps: int
    outcome: PlannedOutcome
    result: str
    error: str
    artifact: tuple[str, str, int] | None


@dataclass(frozen=True, slots=True)
class PlannedPhase:
    """A phase of an execution. ``pause`` is the wait for an approval before it, 0 for none."""

    id: str
    name: str
    seconds: float
    output: str
    pause: float


@dataclass(frozen=True, slots=True)
class WorkflowPlan:
    """The plan of an execution. A failing one fails in its last planned phase.

    ``total_phases`` includes the phases that a failing execution does not reach.
    """

    workflow_id: str
    name: str
    phases: tuple[PlannedPhase, ...]
    total_phases: int
    outcome: PlannedOutcome
    result: str
    error: str


@dataclass(frozen=True, slots=True)
class SandboxPlan:
    """The plan of a sandbox.

    It breaks with ``error`` after it has run for ``breaks_after`` seconds; None: never.
    """

    image: str
    pull: float
    boot: float
    breaks_after: float | None
    error: str


def plan_task(
    chance: Random, *, title: str | None = None, outcome: OutcomeOrName | None = None, seconds: float | None = None
) -> TaskPlan:
    """Plan a task of a random kind. ``seconds`` is its duration, by default 4 to 15 s."""
    recipe: Recipe = chance.choice(RECIPES)
    fails = chance.random() < FAILURE_RATE
    ending = PlannedOutcome(outcome or (PlannedOutcome.FAILED if fails else PlannedOutcome.COMPLETED))
    wait = chance.uniform(0.2, 0.8)
    length = chance.uniform(4, 15)
    error = chance.choice(recipe.errors)
    last = chance.randrange(1, len(recipe.steps))
    if seconds is not None:
        length, wait = seconds, min(wait, seconds / 10)
    shares = _shares(chance, len(recipe.steps))
    steps = tuple(
        PlannedStep(f"step-{number}", step.name, length * share, step.lines)
        for number, (step, share) in enumerate(zip(recipe.steps, shares, strict=True), start=1)
    )
    failed = ending is PlannedOutcome.FAILED
    return TaskPlan(
        title=title or recipe.title,
        wait=wait,
        steps=steps[: last + 1] if failed else steps,
        total_steps=len(steps),
        outcome=ending,
        result=recipe.result,
        error=error,
        artifact=None if failed else recipe.artifact,
    )


def plan_workflow(
    chance: Random,
    *,
    workflow_id: str | None = None,
    outcome: OutcomeOrName | None = None,
    pauses: bool | None = None,
    seconds: float | None = None,
) -> WorkflowPlan:
    """Plan an execution of the given workflow. An unknown workflow gets the phases of a random one."""
    known = {process.workflow_id: process for process in PROCESSES}
    process: Process = chance.choice(PROCESSES)
    process = known.get(workflow_id or "", process)
    fails, waits = chance.random() < FAILURE_RATE, chance.random() < PAUSE_RATE
    ending = PlannedOutcome(outcome or (PlannedOutcome.FAILED if fails else PlannedOutcome.COMPLETED))
    length = seconds if seconds is not None else chance.uniform(8, 20)
    error = chance.choice(process.errors)
    last = chance.randrange(1, len(process.phases))
    pause_before = last if (waits if pauses is None else pauses) else None
    shares = _shares(chance, len(process.phases))
    phases = tuple(
        PlannedPhase(
            f"phase-{index + 1}", name, length * share, output, length / 4 if index == pause_before else 0.0
        )
        for index, ((name, output), share) in enumerate(zip(process.phases, shares, strict=True))
    )
    return WorkflowPlan(
        workflow_id=workflow_id or process.workflow_id,
        name=process.name if workflow_id in (None, process.workflow_id) else str(workflow_id),
        phases=phases[: last + 1] if ending is PlannedOutcome.FAILED else phases,
        total_phases=len(phases),
        outcome=ending,
        result=process.result,
        error=error,
    )


def plan_sandbox(chance: Random, *, image: str | None = None, breaks: bool | None = None) -> SandboxPlan:
    """Plan a sandbox. If it breaks, then 10 to 40 s after its start."""
    random_image = chance.choice(IMAGES)
    may_break = chance.random() < BREAKDOWN_RATE
    after = chance.uniform(10, 40)
    return SandboxPlan(
        image=image or random_image,
        pull=chance.uniform(0.5, 2),
        boot=chance.uniform(0.5, 1.5),
        breaks_after=after if (may_break if breaks is None else breaks) else None,
        error=chance.choice(SANDBOX_ERRORS),
    )


def _shares(chance: Random, count: int) -> list[float]:
    """``count`` random positive numbers with the sum 1."""
    weights = [chance.uniform(0.5, 1.5) for _ in range(count)]
    return [weight / sum(weights) for weight in weights]
