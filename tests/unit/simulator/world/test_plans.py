"""Plans: the same chance gives the same plan, and requested outcomes and durations are planned."""

from random import Random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.simulator.world.plans import PlannedOutcome, plan_sandbox, plan_task, plan_workflow


@given(st.integers())
def test_the_same_chance_gives_the_same_plans(seed: int) -> None:
    assert plan_task(Random(seed)) == plan_task(Random(seed))
    assert plan_workflow(Random(seed)) == plan_workflow(Random(seed))
    assert plan_sandbox(Random(seed)) == plan_sandbox(Random(seed))


@given(st.integers(), st.sampled_from(PlannedOutcome), st.floats(0.01, 100))
def test_a_task_has_the_requested_duration_and_outcome(seed: int, outcome: PlannedOutcome, seconds: float) -> None:
    plan = plan_task(Random(seed), title="Mine", outcome=outcome, seconds=seconds)
    assert (plan.title, plan.outcome) == ("Mine", outcome)
    length = sum(step.seconds for step in plan.steps)
    if outcome is PlannedOutcome.COMPLETED:
        assert length == pytest.approx(seconds)
        assert len(plan.steps) == plan.total_steps
        assert plan.artifact is not None
    else:
        assert 0 < length <= seconds * 1.001
        assert 2 <= len(plan.steps) <= plan.total_steps
        assert plan.artifact is None
        assert plan.error
    assert all(step.lines for step in plan.steps)


@given(st.integers(), st.sampled_from(PlannedOutcome), st.booleans())
def test_a_workflow_has_the_requested_pause_and_outcome(seed: int, outcome: PlannedOutcome, pauses: bool) -> None:
    plan = plan_workflow(Random(seed), workflow_id="mine", outcome=outcome, pauses=pauses, seconds=8)
    assert (plan.workflow_id, plan.name, plan.outcome) == ("mine", "mine", outcome)
    assert sum(1 for phase in plan.phases if phase.pause) == pauses
    assert (len(plan.phases) == plan.total_phases) or outcome is PlannedOutcome.FAILED
    assert len({phase.id for phase in plan.phases}) == len(plan.phases)


def test_a_known_workflow_keeps_its_name_and_phases() -> None:
    plans = [
        plan_workflow(Random(seed), workflow_id="onboarding", outcome=PlannedOutcome.COMPLETED)
        for seed in range(5)
    ]
    assert {plan.name for plan in plans} == {"Customer onboarding"}
    assert {plan.total_phases for plan in plans} == {3}


@pytest.mark.parametrize("breaks", [True, False])
def test_a_sandbox_breaks_on_request(breaks: bool) -> None:
    plans = [plan_sandbox(Random(seed), image="mine:1", breaks=breaks) for seed in range(20)]
    assert {plan.breaks_after is not None for plan in plans} == {breaks}
    assert {plan.image for plan in plans} == {"mine:1"}


def test_left_to_chance_some_fail_and_most_do_not() -> None:
    outcomes = [plan_task(Random(seed)).outcome for seed in range(200)]
    assert 20 < outcomes.count(PlannedOutcome.FAILED) < 80


@pytest.mark.parametrize("outcome", list(PlannedOutcome))
def test_an_outcome_may_be_given_by_name(outcome: PlannedOutcome) -> None:
    name: Literal["completed", "failed"] = outcome.value
    assert plan_task(Random(1), outcome=name) == plan_task(Random(1), outcome=outcome)
    assert plan_workflow(Random(1), outcome=name) == plan_workflow(Random(1), outcome=outcome)
