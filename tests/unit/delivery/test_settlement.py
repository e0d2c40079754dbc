"""Turning a verdict into the record for the store."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aintandem_notify.delivery.judge import Action, FaultHistory, Verdict
from aintandem_notify.delivery.settlement import (
    MAX_DUE_AHEAD,
    MESSAGE_PAUSES_S,
    fault_history,
    give_up,
    is_too_old,
    settlement,
    too_old_reason,
)
from aintandem_notify.store import Claim, DeliveryState
from support.outbox import NOW, event, notification

LATER = NOW + timedelta(hours=1)
CLAIM = Claim(7, "slack.team", notification(event("task_started"), None), NOW, 1, "builtins.KeyError", 1)
QUEUED, DELIVERED, DEAD = DeliveryState.QUEUED, DeliveryState.DELIVERED, DeliveryState.DEAD


@pytest.mark.parametrize(
    ("action", "state", "attempts", "pause"),
    [
        (Action.DELIVERED, DELIVERED, 1, 0),
        (Action.WAIT, QUEUED, 1, 0),
        (Action.PARK, QUEUED, 1, 0),
        (Action.DISABLE, QUEUED, 1, 0),
        (Action.RETRY, QUEUED, 2, 30),
        (Action.REFUSE, DEAD, 2, 0),
        (Action.GIVE_UP, DEAD, 2, 0),
    ],
)
def test_every_action(action: Action, state: DeliveryState, attempts: int, pause: float) -> None:
    verdict = Verdict(action, "why", history=FaultHistory("builtins.KeyError", 2))
    ended = settlement(CLAIM, verdict, {"ts": "1"}, LATER, lambda: 0.0)
    assert (ended.state, ended.attempts, ended.due_at) == (state, attempts, LATER + timedelta(seconds=pause))
    assert (ended.fault, ended.fault_count, ended.reason) == ("builtins.KeyError", 2, "why")
    assert ended.receipt == {"ts": "1"}


@pytest.mark.parametrize("action", [Action.REFUSE, Action.GIVE_UP])
def test_the_last_try_is_still_to_come(action: Action) -> None:
    verdict = Verdict(action, "why", history=FaultHistory("builtins.KeyError", 3), retries_as_plain=True)
    ended = settlement(CLAIM, verdict, None, LATER, lambda: 0.0)
    assert (ended.state, ended.plain, ended.attempts) == (QUEUED, True, 2)
    assert (ended.due_at, ended.reason) == (LATER + timedelta(seconds=5), "why")


@pytest.mark.parametrize(
    ("action", "state", "reason"),
    [
        (Action.DELIVERED, DELIVERED, None),
        (Action.WAIT, QUEUED, "why"),
        (Action.REFUSE, DEAD, "why, also as plain text"),
        (Action.GIVE_UP, DEAD, "why, also as plain text"),
    ],
)
def test_the_last_try_stays_the_last(action: Action, state: DeliveryState, reason: str | None) -> None:
    verdict = Verdict(action, "" if action is Action.DELIVERED else "why")
    ended = settlement(replace(CLAIM, plain=True), verdict, None, LATER, lambda: 0.0)
    assert (ended.state, ended.plain, ended.reason) == (state, True, reason)


def test_history_is_what_the_store_knows() -> None:
    assert fault_history(CLAIM) == FaultHistory("builtins.KeyError", 1)


def test_the_horizon_is_beyond_every_pause() -> None:
    assert timedelta(seconds=max(MESSAGE_PAUSES_S) * 1.2) < MAX_DUE_AHEAD


@pytest.mark.parametrize(
    ("seconds", "expected"), [(3599.9, False), (3600.0, False), (3600.1, True), (-3600.0, False)]
)
def test_age(seconds: float, expected: bool) -> None:
    assert is_too_old(CLAIM, 3600.0, NOW + timedelta(seconds=seconds)) is expected


def test_what_is_too_old_keeps_its_history() -> None:
    ended = give_up(CLAIM, 3600.0, LATER)
    assert (ended.state, ended.reason) == (DEAD, "waited longer than 1h")
    assert (ended.attempts, ended.fault, ended.fault_count) == (1, "builtins.KeyError", 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(259_200.0, "3d"), (3600.0, "1h"), (5400.0, "90m"), (10.0, "10s"), (0.5, "0.5s"), (86_401.0, "86401s")],
)
def test_ages_read_as_durations_do_in_the_config(seconds: float, text: str) -> None:
    assert too_old_reason(seconds) == f"waited longer than {text}"
