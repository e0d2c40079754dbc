"""The next state of an episode, against a plain model."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.config.rule_config import EscalationConfig
from aintandem_notify.rules.effective_rules import Stages
from aintandem_notify.stages.episodes import (
    Due,
    EndedBy,
    Episode,
    Trouble,
    end,
    expire,
    holding,
    next_due,
    succeed,
    take,
)

NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
PLAIN: Final = Stages()
DAY: Final = 86400.0


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def trouble(seconds: float = 0, **more: Any) -> Trouble:
    values: dict[str, Any] = {
        "rule": "failures",
        "number": 7,
        "type": "task_failed",
        "event_key": f"key{seconds}",
        "occurred_at": at(seconds),
        "thread": "t",
        "notification_id": "ntf_1",
        "project_id": "p",
    }
    return Trouble(**values | more)


def begun(stages: Stages = PLAIN, seconds: float = 0, **more: Any) -> Episode:
    episode, _ = take(None, trouble(seconds, **more), stages)
    return episode


def flips(*words: Any, **more: Any) -> Stages:
    return Stages(on=words, **more)


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 4))
def test_flips_are_those_of_a_counter_of_ends_in_a_row(failures: list[bool], confirm: int) -> None:
    stages = flips("first_failure", "recovered", confirm=confirm)
    episode: Episode | None = None
    flipped: list[tuple[int, str]] = []
    for second, is_failure in enumerate(failures):
        if is_failure:
            episode, takes = take(episode, trouble(second), stages)
            flipped += [(second, "failure")] if takes else []
        elif episode is not None:
            was_open = episode.is_open
            episode = succeed(episode, at(second), stages)
            flipped += [(second, "recovery")] if was_open and not episode.is_open else []
            episode = episode if episode.is_current else None
    expected: list[tuple[int, str]] = []
    is_failing, row = False, 0
    for second, is_failure in enumerate(failures):
        row = row + 1 if is_failure is not is_failing else 0
        if row == confirm:
            is_failing, row = not is_failing, 0
            expected.append((second, "failure" if is_failing else "recovery"))
    assert flipped == expected


def test_a_rule_without_on_takes_each_failure_into_one_episode() -> None:
    first, takes = take(None, trouble(0), PLAIN)
    second, takes_again = take(first, trouble(5), PLAIN)
    assert (takes, takes_again, second.id, second.troubles) == (True, True, first.id, 2)
    assert (second.begun_at, second.last_at, second.event_key) == (at(0), at(5), "key5")


def test_a_success_that_is_older_than_the_last_trouble_changes_nothing() -> None:
    episode = begun(seconds=10)
    assert succeed(episode, at(9), PLAIN) == episode
    assert succeed(episode, at(10), PLAIN).ended_by == EndedBy.SUCCESS


def test_the_first_end_stays() -> None:
    ended = end(begun(), at(5), EndedBy.HAND)
    assert end(ended, at(9), EndedBy.SUCCESS) == ended
    assert not ended.is_current


def test_an_expired_episode_of_flips_goes_on_with_the_next_failure() -> None:
    stages = flips("first_failure")
    expired = expire(begun(stages), at(100), stages)
    assert (expired.is_open, expired.is_current) == (False, True)
    again, takes = take(expired, trouble(200), stages)
    assert (again.is_open, takes) == (True, False)
    assert not expire(begun(), at(100), PLAIN).is_current


def test_the_first_of_the_due_actions_is_next() -> None:
    escalate = (EscalationConfig(after="30m", notify=("a",)), EscalationConfig(after="2h", notify=("b",)))
    stages = flips("first_failure", "still_failing", remind_every=3600.0, escalate=escalate)
    episode = begun(stages)
    assert next_due(episode, stages, DAY) == (at(DAY), Due.EXPIRE), "nobody was told yet"
    told = replaced(episode, told_at=at(60))
    assert next_due(told, stages, DAY) == (at(60 + 1800), Due.ESCALATE)
    assert next_due(replaced(told, escalated=1), stages, DAY) == (at(3600), Due.REMIND)
    assert next_due(replaced(told, escalated=1, reminded_at=at(3600)), stages, DAY) == (at(7200), Due.REMIND)
    assert next_due(replaced(told, acknowledged_at=at(70)), stages, DAY) == (at(DAY), Due.EXPIRE)
    assert next_due(end(told, at(80), EndedBy.HAND), stages, DAY) is None


def test_of_a_reminder_and_an_expiry_at_one_time_people_are_told_first() -> None:
    stages = flips("still_failing", remind_every=DAY)
    assert next_due(begun(stages), stages, DAY) == (at(DAY), Due.REMIND)


def replaced(episode: Episode, **changes: Any) -> Episode:
    return Episode(**{name: getattr(episode, name) for name in Episode.__slots__} | changes)


def test_a_cause_holds_the_same_workflow_or_sandbox_else_its_project() -> None:
    of_project = begun()
    of_workflow = begun(workflow_id="w1", event_key="w")
    of_sandbox = begun(kind="sandbox", run_id="s1", event_key="s")

    def holds(cause: Episode, *, project: str = "p", workflow: str = "", sandbox: str = "") -> bool:
        return holding([cause], project_id=project, workflow_id=workflow, sandbox_id=sandbox) is cause

    assert holds(of_project)
    assert holds(of_project, workflow="w9")
    assert not holds(of_project, project="q")
    assert holds(of_workflow, workflow="w1")
    assert not holds(of_workflow, workflow="w2")
    assert holds(of_workflow)
    assert holds(of_sandbox, sandbox="s1")
    assert not holds(of_sandbox, sandbox="s2")
    assert holds(of_sandbox)
    assert not holds(end(of_project, at(1), EndedBy.HAND))
    assert holding([], project_id="p", workflow_id="", sandbox_id="") is None
