"""The decisions after a failed try or a lost link, without any link."""

from collections.abc import Collection

import pytest

from aintandem_notify.config.models import ConnectionConfig
from aintandem_notify.errors import (
    ApiError,
    AuthenticationFailed,
    HttpFailed,
    LinkLost,
    LinkRefused,
    OrchestratorError,
    ProjectGone,
)
from aintandem_notify.orchestrator.link.reconnect_policy import ConnectionTrouble
from aintandem_notify.orchestrator.watch.recovery import NextStep, Recovery

LOST = LinkLost("reset", code=1006)
DOWN = HttpFailed("connection refused")
GONE = ProjectGone("no such project")
REFUSED = LinkRefused("refused", code=4401)
FORBIDDEN = LinkRefused("forbidden", code=4403)
WRONG_LOGIN = AuthenticationFailed("wrong password", status=401)
AGENT: tuple[ConnectionTrouble, ...] = ()
CLIENT = (ConnectionTrouble.REFUSED, ConnectionTrouble.GONE)


def recovery(
    *, attempts: int | None = None, fatal: Collection[ConnectionTrouble] = AGENT, reports_every_try: bool = False
) -> Recovery:
    """One whose random pauses are the longest."""
    backoff = ConnectionConfig(reconnect_attempts=attempts, reconnect_initial_delay=1.0, reconnect_max_delay=30.0)
    return Recovery(backoff, fatal, lambda: 1.0, reports_every_try=reports_every_try)


def fail(
    subject: Recovery,
    error: OrchestratorError | HttpFailed,
    *,
    was_open: bool = False,
    is_renewable: bool = True,
    renewal: HttpFailed | ApiError | None = None,
) -> NextStep:
    """The step after a failure; ``renewal`` is the result of a try to get another token."""
    loss = subject.note_failure(error, is_renewable=is_renewable)
    has_new_token = loss.needs_token and renewal is None
    remaining = renewal if loss.needs_token and renewal is not None else error
    return subject.next_step(loss, remaining, was_open=was_open, has_new_token=has_new_token)


def test_pauses_grow_while_the_orchestrator_is_down() -> None:
    subject = recovery()
    assert [fail(subject, DOWN).pause_s for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert subject.failures == 7


def test_trouble_is_reported_once_by_kind() -> None:
    subject = recovery()
    steps = [fail(subject, error) for error in (DOWN, LOST, GONE, DOWN, GONE)]
    assert [step.reports for step in steps] == [True, False, True, False, False]
    assert [step.is_repeated for step in steps] == [False, True, False, True, True]


def test_a_lost_link_is_reported_by_itself_and_then_the_failure_to_open_it_again() -> None:
    subject = recovery()
    assert fail(subject, LOST, was_open=True) == NextStep(1.0, reports=False, is_repeated=True)
    assert fail(subject, DOWN) == NextStep(2.0, reports=True, is_repeated=False)


def test_an_open_link_that_ends_for_another_reason_is_reported_with_it() -> None:
    assert fail(recovery(), GONE, was_open=True).reports


def test_every_try_is_reported_if_wanted_but_not_the_loss_of_a_link() -> None:
    subject = recovery(reports_every_try=True)
    assert [fail(subject, DOWN).reports for _ in range(3)] == [True, True, True]
    assert not fail(subject, LOST, was_open=True).reports


def test_it_gives_up_when_the_attempts_are_used_up() -> None:
    subject = recovery(attempts=2)
    assert [fail(subject, DOWN).is_final for _ in range(3)] == [False, False, True]


def test_no_token_is_fetched_for_the_last_attempt() -> None:
    assert not recovery(attempts=0).note_failure(REFUSED, is_renewable=True).needs_token


def test_two_refused_tokens_are_replaced_at_once_and_the_third_waits() -> None:
    subject = recovery()
    steps = [fail(subject, REFUSED) for _ in range(3)]
    assert steps == [NextStep(0.0), NextStep(0.0), NextStep(12.0, reports=True)]


@pytest.mark.parametrize("fatal", [AGENT, CLIENT])
def test_a_login_that_is_refused_remains_as_the_trouble(fatal: Collection[ConnectionTrouble]) -> None:
    step = fail(recovery(fatal=fatal), REFUSED, renewal=WRONG_LOGIN)
    assert step.is_final is bool(fatal)
    assert step.reports


def test_a_login_that_cannot_be_reached_is_tried_again_also_by_a_client() -> None:
    assert fail(recovery(fatal=CLIENT), REFUSED, renewal=DOWN).pause_s == 1.0


@pytest.mark.parametrize(
    ("error", "is_renewable", "needs_token"),
    [
        (REFUSED, True, True),
        (REFUSED, False, True),  # the session may have read another one
        (FORBIDDEN, True, True),
        (FORBIDDEN, False, False),
        (LOST, True, False),
        (DOWN, True, False),
        (GONE, True, False),
    ],
)
def test_a_token_is_fetched_only_if_the_present_one_was_refused(
    error: OrchestratorError | HttpFailed, is_renewable: bool, needs_token: bool
) -> None:
    assert recovery().note_failure(error, is_renewable=is_renewable).needs_token is needs_token


def test_a_refusal_is_fatal_to_a_client_only_after_another_token_was_tried() -> None:
    subject = recovery(fatal=CLIENT)
    assert [fail(subject, REFUSED).is_final for _ in range(3)] == [False, False, True]
    assert fail(recovery(fatal=CLIENT), FORBIDDEN, is_renewable=False).is_final


def test_a_project_that_is_gone_ends_a_client_and_not_the_agent() -> None:
    assert fail(recovery(fatal=CLIENT), GONE).is_final
    assert fail(recovery(), GONE).pause_s == 12.0


def test_a_stable_connection_ends_the_series() -> None:
    subject = recovery(attempts=3)
    for error in (DOWN, REFUSED, GONE):
        fail(subject, error)
    subject.forget()
    assert subject.failures == 0
    assert fail(subject, REFUSED) == NextStep(0.0)
    assert fail(subject, DOWN) == NextStep(1.0, reports=True)
