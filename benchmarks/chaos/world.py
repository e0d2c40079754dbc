"""A busy orchestrator: runs many tasks, workflows and sandboxes in the simulator, and records the due run ends."""

from random import Random
from typing import Final

import trio

from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.world.plans import PlannedOutcome, TaskPlan
from aintandem_notify.simulator.world.tasks import TaskRecord
from aintandem_notify.simulator.world.workflows import ExecutionRecord
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.nasty import RandomInputs
from benchmarks.machine import now

SPEED: Final = 20.0
"""The simulator's speed: a task of ten seconds takes half a second."""

SHORT_SHARE: Final = 0.8
WORKFLOW_SHARE: Final = 0.08
SANDBOX_SHARE: Final = 0.02
"""Shares of all started runs. The others are tasks with steps and output; short tasks only start and end."""


MAX_TITLE: Final = 200
"""Characters of a task's title. Nasty titles are cut to it, so that they do not count among the errors."""


class World:
    """Starts runs in the simulator. Each is due from the time at which it ends."""

    def __init__(self, simulator: Simulator, projects: list[str], ledger: Ledger, seed: int) -> None:
        self.simulator = simulator
        self._projects = projects
        self._ledger = ledger
        self._chance = Random(f"{seed}/world")
        self._random_inputs = RandomInputs(seed, "texts")
        self.stopped = False
        """If set, no more runs are started."""
        for project in projects:
            simulator.tasks.set_limit(project, 1000)

    async def run_one_each(self) -> None:
        """Run one short task in each project to its end."""
        async with trio.open_nursery() as nursery:
            for project in self._projects:
                task = self.simulator.tasks.submit(project, plan=self._short())
                nursery.start_soon(self._follow_task, task, False)

    async def produce(self, rate: float, events: int | None) -> None:
        """Start ``rate`` runs a second until ``events`` are sent or ``stopped`` is set, then wait for all ends."""
        began, begun = now(), 0
        async with trio.open_nursery() as nursery:
            while not self.stopped and (events is None or self.simulator.world.emitted < events):
                for _ in range(int((now() - began) * rate) - begun):
                    self._begin(nursery)
                    begun += 1
                await trio.sleep(1 / rate)

    def _begin(self, nursery: trio.Nursery) -> None:
        chance, project, simulator = self._chance, self._chance.choice(self._projects), self.simulator
        kind = chance.random()
        if kind < SHORT_SHARE:
            task = simulator.tasks.submit(project, plan=self._short())
            nursery.start_soon(self._follow_task, task, chance.random() < 0.02)
        elif kind < SHORT_SHARE + WORKFLOW_SHARE:
            execution = simulator.workflows.create(project)
            simulator.workflows.start(execution.id)
            nursery.start_soon(self._follow_execution, execution)
        elif kind < SHORT_SHARE + WORKFLOW_SHARE + SANDBOX_SHARE:
            nursery.start_soon(self._run_sandbox, project)
        else:
            nursery.start_soon(self._follow_task, simulator.tasks.submit(project), chance.random() < 0.1)

    async def _follow_task(self, task: TaskRecord, cancels: bool) -> None:
        if cancels and not task.ended.is_set():
            self.simulator.tasks.cancel(task.project_id, task.id)
        await task.ended.wait()
        self._ledger.due[task.id, f"task_{task.status}"] = now()

    async def _follow_execution(self, execution: ExecutionRecord) -> None:
        await execution.ended.wait()
        self._ledger.due[execution.id, f"workflow_execution_{execution.status}"] = now()

    async def _run_sandbox(self, project: str) -> None:
        """Run a sandbox that breaks soon after its start."""
        sandboxes = self.simulator.sandboxes
        sandbox = sandboxes.create(project, breaks=False)
        sandboxes.start(sandbox.id)
        await trio.sleep(self._chance.uniform(0.1, 1.0))
        sandboxes.break_down(sandbox.id)
        self._ledger.due[sandbox.id, "sandbox_error"] = now()

    def _short(self) -> TaskPlan:
        chance = self._chance
        return TaskPlan(
            title=self._random_inputs.text("nightly-check")[:MAX_TITLE],
            wait=chance.uniform(0, 10),
            steps=(),
            total_steps=1,
            outcome=chance.choice((PlannedOutcome.COMPLETED, PlannedOutcome.FAILED)),
            result="in order",
            error=self._random_inputs.text("a check did not hold"),
            artifact=None,
        )
