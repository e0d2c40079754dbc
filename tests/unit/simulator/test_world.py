"""The world in virtual time: tasks, workflows and sandboxes, and their events."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from aintandem_notify.domain.events import EVENT_TYPES, WIRE_FAMILIES, Event, event_from
from aintandem_notify.errors import ApiError
from aintandem_notify.simulator import demo
from aintandem_notify.simulator.world.plans import PlannedOutcome
from aintandem_notify.simulator.world.sandboxes import STAGES, OperationKind
from support.simulated import about, simulated, types

WIRE_TYPES = {name for name, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES}


def refusal(error: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return error.value.status, error.value.code


async def test_a_task_runs_through_its_steps(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        task = simulator.tasks.submit(
            "p", title="Mine", outcome=PlannedOutcome.COMPLETED, seconds=10, inputs={"a": 1}
        )
        assert task.status == "queued"
        await task.ended.wait()
        frames = about(simulator, task.id)
        observed = [frame["type"] for frame in frames]
        assert observed[:2] == ["task_queued", "task_started"]
        assert observed[-2:] == ["artifact", "task_completed"]
        assert set(observed[2:-2]) == {"step_progress", "output"}
        assert frames[0]["input"] == {"a": 1}
        steps = [frame for frame in frames if frame["type"] == "step_progress"]
        assert [step["status"] for step in steps] == ["running", "completed"] * len(task.plan.steps)
        progress = [step["progress"] for step in steps]
        assert progress == sorted(progress)
        assert (progress[0], progress[-1]) == (0, 100)
        printed = "".join(frame["output"] for frame in frames if frame["type"] == "output")
        assert printed == "".join(f"{line}\n" for step in task.plan.steps for line in step.lines)
        assert frames[-1]["duration"] == pytest.approx(10_000, abs=50)
        answer = task.as_json()
        assert (answer["status"], answer["output"], answer["error"]) == ("completed", task.plan.result, None)


async def test_a_task_runs_again_under_its_id(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        task = simulator.tasks.submit("p", title="Mine", outcome=PlannedOutcome.FAILED)
        with pytest.raises(ApiError) as error:
            simulator.tasks.rerun("p", task.id)
        assert refusal(error) == (409, "CONFLICT")
        await task.ended.wait()
        again = simulator.tasks.rerun("p", task.id, outcome=PlannedOutcome.COMPLETED)
        answer = simulator.tasks.get("p", task.id).as_json()
        assert (answer["status"], answer["completedAt"], answer["error"]) == ("queued", None, None)
        await again.ended.wait()
        observed = [
            kind for kind in types(simulator, task.id) if kind not in ("output", "step_progress", "artifact")
        ]
        assert observed == [
            "task_queued",
            "task_started",
            "task_failed",
            "task_queued",
            "task_started",
            "task_completed",
        ]
        assert again.created_at == task.created_at
        assert [record.id for record in simulator.tasks.of("p")] == [task.id]


async def test_a_failing_task_has_an_error(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        task = simulator.tasks.submit("p", outcome=PlannedOutcome.FAILED)
        await task.ended.wait()
        last = about(simulator, task.id)[-1]
        assert (last["type"], last["error"]) == ("task_failed", task.plan.error)
        assert last["output"].endswith("\n")
        assert about(simulator, task.id)[-2]["status"] == "failed"
        assert "artifact" not in types(simulator, task.id)


async def test_the_limit_queues_tasks_and_lets_the_next_one_in(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    with simulated(nursery) as simulator:
        simulator.tasks.set_limit("p", 1)
        first, second, third = (simulator.tasks.submit("p", outcome=PlannedOutcome.COMPLETED) for _ in range(3))
        elsewhere = simulator.tasks.submit("q", seconds=1000)
        await trio.sleep(1)
        assert simulator.tasks.counts("p") == {"pending": 2, "running": 1, "completed": 0, "failed": 0}
        assert elsewhere.status == "running"
        simulator.tasks.cancel("p", second.id)
        await first.ended.wait()
        await third.ended.wait()
        assert types(simulator, second.id) == ["task_queued", "task_cancelled"]
        assert simulator.tasks.counts("p")["completed"] == 2
        assert [task.id for task in simulator.tasks.of("p")] == [third.id, second.id, first.id]


async def test_a_running_task_is_cancelled_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        task = simulator.tasks.submit("p", seconds=100)
        await trio.sleep(5)
        simulator.tasks.cancel("p", task.id)
        await trio.sleep(200)
        assert types(simulator, task.id)[-1] == "task_cancelled"
        assert types(simulator, task.id).count("task_cancelled") == 1
        with pytest.raises(ApiError) as again:
            simulator.tasks.cancel("p", task.id)
        assert refusal(again) == (409, "CONFLICT")
        with pytest.raises(ApiError) as elsewhere:
            simulator.tasks.get("q", task.id)
        assert refusal(elsewhere) == (404, "TASK_NOT_FOUND")
        # The cancelled task no longer counts against the limit.
        simulator.tasks.set_limit("p", 1)
        later = simulator.tasks.submit("p")
        await later.ended.wait()


async def test_a_workflow_pauses_for_approval_and_completes(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    with simulated(nursery) as simulator:
        run = simulator.workflows.create("p", "release-pipeline", outcome=PlannedOutcome.COMPLETED, pauses=True)
        assert types(simulator, run.id) == ["workflow_execution_created"]
        simulator.workflows.start(run.id)
        await run.ended.wait()
        phase = ["workflow_phase_started", "workflow_phase_completed"]
        between = ["workflow_execution_paused", "workflow_execution_resumed"]
        observed = types(simulator, run.id)
        assert observed[1] == "workflow_execution_started"
        assert observed[-1] == "workflow_execution_completed"
        assert [kind for kind in observed if kind.startswith("workflow_phase")] == phase * 4
        assert [kind for kind in observed if kind in between] == between
        answer = run.as_json()
        assert answer["progress"] == {"current": 4, "total": 4, "percentage": 100, "message": "4 of 4 phases"}
        assert {phase["status"] for phase in answer["phases"]} == {"completed"}


async def test_a_failing_workflow_names_its_phase(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        run = simulator.workflows.create("p", outcome=PlannedOutcome.FAILED, pauses=False)
        simulator.workflows.start(run.id)
        await run.ended.wait()
        last = about(simulator, run.id)[-1]
        assert last["type"] == "workflow_execution_failed"
        assert last["error"] == f"{run.plan.phases[-1].name}: {run.plan.error}"
        assert run.as_json()["phases"][-1]["status"] == "failed"


async def test_a_paused_workflow_stands_still(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        run = simulator.workflows.create("p", outcome=PlannedOutcome.COMPLETED, pauses=False, seconds=10)
        simulator.workflows.start(run.id)
        await trio.sleep(3)
        simulator.workflows.pause(run.id)
        await trio.sleep(1000)
        assert types(simulator, run.id)[-1] == "workflow_execution_paused"
        simulator.workflows.resume(run.id)
        await run.ended.wait()
        assert run.status == "completed"


async def test_a_cancelled_workflow_sends_nothing_more(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        run = simulator.workflows.create("p", pauses=False, seconds=10)
        simulator.workflows.start(run.id)
        await trio.sleep(3)
        simulator.workflows.cancel(run.id)
        observed = types(simulator, run.id)
        await trio.sleep(100)
        assert types(simulator, run.id) == observed
        assert run.as_json()["status"] == "cancelled"


@pytest.mark.parametrize("action", ["pause", "resume"])
async def test_a_workflow_refuses_actions_that_its_status_does_not_allow(
    autojump_clock: MockClock, nursery: trio.Nursery, action: str
) -> None:
    with simulated(nursery) as simulator:
        run = simulator.workflows.create("p")
        with pytest.raises(ApiError) as refused:
            getattr(simulator.workflows, action)(run.id)
        assert refusal(refused) == (409, "CONFLICT")
        with pytest.raises(ApiError) as unknown:
            getattr(simulator.workflows, action)("exec-0")
        assert refusal(unknown) == (404, "EXECUTION_NOT_FOUND")


async def test_a_sandbox_lives_and_is_removed(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        box = simulator.sandboxes.create("p", image="mine:1", breaks=False)
        simulator.sandboxes.start(box.id)
        with pytest.raises(ApiError, match="running"):
            simulator.sandboxes.start(box.id)
        simulator.sandboxes.stop(box.id)
        with pytest.raises(ApiError, match="stopped"):
            simulator.sandboxes.stop(box.id)
        simulator.sandboxes.start(box.id)
        simulator.sandboxes.remove(box.id)
        assert simulator.sandboxes.all() == []
        assert [(frame["type"], frame.get("exitCode")) for frame in about(simulator, box.id)] == [
            ("sandbox_created", None),
            ("sandbox_started", None),
            ("sandbox_stopped", 0),
            ("sandbox_started", None),
            ("sandbox_stopped", 137),
        ]


async def test_a_sandbox_breaks_unless_it_was_stopped(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        breaking, stopped = (simulator.sandboxes.create("p", breaks=True) for _ in range(2))
        simulator.sandboxes.start(breaking.id)
        simulator.sandboxes.start(stopped.id)
        simulator.sandboxes.stop(stopped.id)
        await trio.sleep(60)
        assert about(simulator, breaking.id)[-1]["error"] == breaking.plan.error
        assert breaking.status == "error"
        assert types(simulator, stopped.id)[-1] == "sandbox_stopped"
        assert simulator.sandboxes.start(breaking.id).error is None


@pytest.mark.parametrize("kind", list(OperationKind))
async def test_an_operation_goes_through_its_stages(
    autojump_clock: MockClock, nursery: trio.Nursery, kind: OperationKind
) -> None:
    with simulated(nursery) as simulator:
        box = simulator.sandboxes.create("p", breaks=False)
        if kind is not OperationKind.START:
            simulator.sandboxes.start(box.id)
        operation = simulator.sandboxes.begin(box.id, kind)
        observed = [operation.status]
        while operation.completed_at is None:
            await trio.sleep(0.1)
            if operation.status != observed[-1]:
                observed.append(operation.status)
        assert observed == ["pending", *STAGES[kind], "completed"]
        ends = {OperationKind.STOP, OperationKind.DELETE}
        assert box.status == ("stopped" if kind in ends else "running")
        assert (box in simulator.sandboxes.all()) is (kind is not OperationKind.DELETE)
        assert simulator.sandboxes.operations_of("p") == [operation]


async def test_a_cancelled_operation_leaves_its_sandbox_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    with simulated(nursery) as simulator:
        box = simulator.sandboxes.create("p", breaks=False)
        operation = simulator.sandboxes.begin(box.id, OperationKind.START)
        await trio.sleep(0.1)
        simulator.sandboxes.cancel(operation.id)
        await trio.sleep(30)
        assert (operation.status, box.status, operation.error) == ("cancelled", "created", None)
        steps = [step["status"] for step in operation.as_json()["steps"]]
        assert steps == ["failed", "pending", "pending", "pending"]
        with pytest.raises(ApiError, match="cannot cancel it"):
            simulator.sandboxes.cancel(operation.id)


async def test_an_operation_on_a_missing_image_fails(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        box = simulator.sandboxes.create("p", image="mine:missing")
        operation = simulator.sandboxes.begin(box.id, OperationKind.START)
        await trio.sleep(30)
        assert (operation.status, operation.error) == ("failed", "Cannot pull the image: manifest unknown")
        assert types(simulator, box.id)[-1] == "sandbox_error"


async def test_an_operation_outlives_its_sandbox(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery) as simulator:
        box = simulator.sandboxes.create("p")
        operation = simulator.sandboxes.begin(box.id, OperationKind.START)
        simulator.sandboxes.remove(box.id)
        await trio.sleep(30)
        assert operation.as_json()["status"] == "failed"


async def one_hour(seed: int, nursery: trio.Nursery) -> list[dict[str, Any]]:
    """A demo's events without the fields that differ at every start."""
    with simulated(nursery, seed=seed) as simulator:
        nursery.start_soon(demo.run_demo, simulator, ["project-123", "project-456"])
        await trio.sleep(3600)
        return [
            {name: value for name, value in frame.items() if not name.endswith("Id") or name == "projectId"}
            for frame in simulator.world.history
        ]


async def test_a_demo_shows_something_soon_and_everything_within_a_minute(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        with simulated(nursery) as simulator, simulator.subscriptions.opened("project-123", None):
            begin = simulator.world.clock.now()
            nursery.start_soon(demo.run_demo, simulator, ["project-123"])
            await trio.sleep(60)
            first: dict[str, float] = {}
            for frame in simulator.world.history:
                event = event_from(dict(frame), "project-123", begin)
                assert isinstance(event, Event)
                first.setdefault(event.type, (event.timestamp - begin).total_seconds())
    assert first["task_completed"] < 5
    assert first["task_failed"] < 20
    assert set(first) == WIRE_TYPES


async def test_a_demo_is_the_same_for_a_seed_and_goes_on_calmly(autojump_clock: MockClock) -> None:
    hours = []
    for seed in (5, 5, 6):
        async with trio.open_nursery() as nursery:
            hours.append(await one_hour(seed, nursery))
    plan = [[(frame["type"], frame.get("task"), frame.get("error")) for frame in hour] for hour in hours]
    assert sorted(map(str, plan[0])) == sorted(map(str, plan[1]))
    assert plan[0] != plan[2]
    ends = [frame for frame in hours[0] if frame["type"].endswith(("completed", "failed", "cancelled", "error"))]
    terminal = [frame for frame in ends if not frame["type"].startswith("workflow_phase")]
    assert 200 < len(terminal) < 600, "about one in ten seconds, for two projects"


async def test_all_types_happen_with_every_field_that_makes_an_event(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    with simulated(nursery, speed=7.0) as simulator:
        simulator.tasks.set_limit("p", 1)
        began = trio.current_time()
        ids = await demo.all_types(simulator, "p")
        assert trio.current_time() - began < 1
        events = [event_from(dict(frame), "p", simulator.started_at) for frame in simulator.world.history]
        assert {event.type for event in events if isinstance(event, Event)} == WIRE_TYPES
        for ending, run_id in ids.items():
            assert types(simulator, run_id)[-1] == ending


async def test_every_event_has_a_time_and_a_key_of_its_own(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    with simulated(nursery) as simulator:
        for _ in range(50):
            simulator.world.emit("p", "output", taskId="t", output="the same\n")
        events = [event_from(dict(frame), "p", simulator.started_at) for frame in simulator.world.history]
        keys = {event.key for event in events if isinstance(event, Event)}
        assert len(keys) == 50


async def test_one_project_does_not_change_the_plans_of_another(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    with simulated(nursery) as quiet, simulated(nursery) as busy:
        for _ in range(3):
            busy.tasks.submit("other")
        plans = [simulator.tasks.submit("p").plan for simulator in (quiet, busy)]
        assert plans[0] == plans[1]
