"""The reaction to each kind of trouble, and the pauses."""

from dataclasses import dataclass

import pytest

from aintandem_notify.errors import (
    ApiError,
    AuthenticationFailed,
    Forbidden,
    HttpFailed,
    InvalidRequest,
    LinkLost,
    LinkRefused,
    OrchestratorError,
    ProjectGone,
    ServerTrouble,
)
from aintandem_notify.orchestrator.link.reconnect_policy import (
    ConnectionTrouble,
    classify_error,
    close_code_of,
    pause_before_retry,
    should_give_up,
    should_renew_token,
    should_retry_at_once,
)
from aintandem_notify.orchestrator.protocol.responses import ForeignAnswer


@dataclass(frozen=True)
class Settings:
    reconnect_initial_delay: float = 1.0
    reconnect_max_delay: float = 30.0
    reconnect_attempts: int | None = None


@pytest.mark.parametrize(
    ("error", "trouble", "code"),
    [
        (LinkLost("x", 1012), ConnectionTrouble.LOST, 1012),
        (LinkRefused("x", 4401), ConnectionTrouble.REFUSED, 4401),
        (LinkRefused("x", 401), ConnectionTrouble.REFUSED, 1006),
        (ProjectGone("x"), ConnectionTrouble.GONE, 4404),
        (AuthenticationFailed("x", status=401), ConnectionTrouble.REFUSED, 1006),
        (Forbidden("x", status=403), ConnectionTrouble.REFUSED, 1006),
        (InvalidRequest("x", status=400), ConnectionTrouble.REFUSED, 1006),
        (ApiError("x", status=302), ConnectionTrouble.LOST, 1006),
        (ForeignAnswer("not JSON", status=200), ConnectionTrouble.LOST, 1006),
        (ServerTrouble("x", status=503), ConnectionTrouble.LOST, 1006),
        (HttpFailed("x"), ConnectionTrouble.LOST, 1006),
    ],
)
def test_kinds_of_trouble(error: OrchestratorError | HttpFailed, trouble: ConnectionTrouble, code: int) -> None:
    assert classify_error(error) is trouble
    assert close_code_of(error) == code


def test_a_lost_link_comes_back_with_full_jitter() -> None:
    ceilings = [pause_before_retry(ConnectionTrouble.LOST, n, Settings(), lambda: 1.0) for n in range(1, 9)]
    assert ceilings == [1, 2, 4, 8, 16, 30, 30, 30]
    assert pause_before_retry(ConnectionTrouble.LOST, 5, Settings(), lambda: 0.0) == 0.0


@pytest.mark.parametrize("trouble", [ConnectionTrouble.REFUSED, ConnectionTrouble.GONE])
def test_trouble_that_a_person_must_mend_is_retried_slowly(trouble: ConnectionTrouble) -> None:
    assert [pause_before_retry(trouble, n, Settings(), lambda: 0.0) for n in range(1, 6)] == [10, 30, 60, 300, 300]
    assert pause_before_retry(trouble, 1, Settings(), lambda: 1.0) == 12.0
    assert pause_before_retry(trouble, 1, Settings(0.5), lambda: 0.0) == 5.0


@pytest.mark.parametrize(
    ("attempts", "failures", "answer"),
    [(None, 10**9, False), (10, 10, False), (10, 11, True), (0, 1, True)],
)
def test_when_to_give_up(attempts: int | None, failures: int, answer: bool) -> None:
    assert should_give_up(failures, Settings(reconnect_attempts=attempts)) is answer


@pytest.mark.parametrize(
    ("code", "refusals", "renews", "at_once"),
    [
        (401, 1, True, True),
        (401, 2, True, True),
        (401, 3, True, False),
        (4401, 9, True, False),
        (403, 1, True, True),
        (403, 2, True, True),
        (403, 3, False, False),
        (4403, 3, False, False),
    ],
)
def test_refusals(code: int, refusals: int, renews: bool, at_once: bool) -> None:
    assert should_renew_token(code, refusals) is renews
    assert should_retry_at_once(refusals) is at_once


@pytest.mark.parametrize(("code", "renews"), [(401, True), (4401, True), (403, False), (4403, False)])
def test_a_given_token_that_may_not_watch_one_project_is_no_refused_login(code: int, renews: bool) -> None:
    assert should_renew_token(code, 1, is_renewable=False) is renews
