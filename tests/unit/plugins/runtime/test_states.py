"""Every transition after the failure of an instance's lifespan."""

import pytest

from aintandem_notify.errors import (
    DestinationBroken,
    HttpFailed,
    PluginError,
    PluginNotReady,
    Rejected,
    RetryLater,
)
from aintandem_notify.plugins.border import DeadlineExceeded, PluginUnusable
from aintandem_notify.plugins.runtime.states import (
    RETRY_PAUSES_S,
    SILENT_FAILURES,
    InstanceState,
    transition_after,
)

FOR_GOOD = [PluginUnusable("x", "broken"), DestinationBroken("revoked")]
FOR_A_WHILE = [
    ValueError(),
    PluginError("x", "sys.exit(1) was called"),
    DeadlineExceeded(),
    RetryLater(),
    Rejected(),
    HttpFailed("refused"),
]


@pytest.mark.parametrize("error", FOR_GOOD, ids=repr)
@pytest.mark.parametrize("failures", [0, 1, 100])
def test_a_permanent_error_is_announced_and_not_retried(error: Exception, failures: int) -> None:
    step = transition_after(error, failures, lambda: 0.5)
    assert (step.state, step.announce, step.pause_s) == (InstanceState.FAILED, True, None)


@pytest.mark.parametrize("error", FOR_A_WHILE, ids=repr)
@pytest.mark.parametrize("failures", range(7))
def test_any_other_error_is_announced_and_retried(error: Exception, failures: int) -> None:
    step = transition_after(error, failures, lambda: 0.0)
    assert (step.state, step.announce) == (InstanceState.RETRYING, True)
    assert step.pause_s == RETRY_PAUSES_S[min(failures, len(RETRY_PAUSES_S) - 1)]


@pytest.mark.parametrize("failures", range(7))
def test_not_ready_is_announced_only_after_repeated_failures(failures: int) -> None:
    step = transition_after(PluginNotReady(), failures, lambda: 0.0)
    assert step.state is InstanceState.RETRYING
    assert step.announce == (failures >= SILENT_FAILURES)


def test_pauses_are_spread_upwards() -> None:
    assert transition_after(ValueError(), 0, lambda: 0.999).pause_s == pytest.approx(RETRY_PAUSES_S[0] * 1.1998)
