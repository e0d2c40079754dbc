"""Every cell of the verdict table: the raised exception, and the delivery's history."""

import pytest

from aintandem_notify.delivery.judge import (
    MAX_REQUESTED_PAUSE_S,
    Action,
    FaultHistory,
    Verdict,
    judge,
    requested_pause,
)
from aintandem_notify.errors import (
    DestinationBroken,
    DestinationGone,
    HttpFailed,
    PluginError,
    Rejected,
    RetryLater,
)
from aintandem_notify.plugins.border import DeadlineExceeded, NoConnection, PluginCodeFailed

KEY_ERROR = "builtins.KeyError"
CLEAN = FaultHistory()
ONCE = FaultHistory(KEY_ERROR, 1)
TWICE = FaultHistory(KEY_ERROR, 2)


def raised(reason: str, kind: str = KEY_ERROR) -> PluginCodeFailed:
    """Returns a fault as ``plugins.border`` raises it."""
    return PluginCodeFailed("x.y", reason, kind)


@pytest.mark.parametrize("history", [CLEAN, ONCE, TWICE])
@pytest.mark.parametrize(
    ("error", "action"),
    [
        (RetryLater("busy"), Action.WAIT),
        (HttpFailed("refused"), Action.WAIT),
        (HttpFailed("reset", maybe_sent=True), Action.WAIT),
        (DeadlineExceeded("too long"), Action.WAIT),
        (NoConnection("ConnectionResetError: by peer"), Action.WAIT),
        (DestinationBroken("no_service"), Action.PARK),
        (DestinationGone("410"), Action.DISABLE),
        (Rejected("too long"), Action.REFUSE),
    ],
)
def test_outcomes_are_judged_the_same_whatever_came_before(
    error: Exception, action: Action, history: FaultHistory
) -> None:
    for plain in (False, True):
        verdict = judge(error, history, plain=plain)
        assert verdict.action is action
        assert verdict.history == history
        assert verdict.retries_as_plain is (action is Action.REFUSE and not plain)


@pytest.mark.parametrize("history", [CLEAN, ONCE, TWICE])
def test_delivered_forgets_the_history(history: FaultHistory) -> None:
    assert judge(None, history) == Verdict(Action.DELIVERED)


@pytest.mark.parametrize(
    ("history", "error", "action", "kept"),
    [
        (CLEAN, raised("a"), Action.RETRY, ONCE),
        (ONCE, raised("b"), Action.RETRY, TWICE),
        (TWICE, raised("c"), Action.GIVE_UP, FaultHistory(KEY_ERROR, 3)),
        (TWICE, raised("d", "builtins.ValueError"), Action.RETRY, FaultHistory("builtins.ValueError", 1)),
        (CLEAN, PluginError("x", "junk"), Action.RETRY, FaultHistory("aintandem_notify.errors.PluginError", 1)),
    ],
)
def test_a_fault_of_the_plugin_counts_while_it_stays_the_same(
    history: FaultHistory, error: Exception, action: Action, kept: FaultHistory
) -> None:
    verdict = judge(error, history)
    assert (verdict.action, verdict.history) == (action, kept)
    assert verdict.retries_as_plain is (action is Action.GIVE_UP)


@pytest.mark.parametrize("history", [CLEAN, ONCE, TWICE, FaultHistory(KEY_ERROR, 3)])
@pytest.mark.parametrize("error", [raised("a"), raised("d", "x.Odd"), PluginError("x", "junk")])
def test_no_fault_is_forgiven_at_the_last_try(history: FaultHistory, error: Exception) -> None:
    verdict = judge(error, history, plain=True)
    assert (verdict.action, verdict.retries_as_plain) == (Action.GIVE_UP, False)


def test_delivered_as_plain_text_is_delivered() -> None:
    assert judge(None, TWICE, plain=True) == Verdict(Action.DELIVERED)


def test_the_reason_of_what_is_given_up_says_how_often() -> None:
    assert (
        judge(raised("plugins/x.py:3: KeyError: 'c'"), TWICE).reason == "plugins/x.py:3: KeyError: 'c' (3 times)"
    )


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (RetryLater(), None),
        (RetryLater(after=0), 0.0),
        (RetryLater(after=12.5), 12.5),
        (RetryLater(after=10**9), MAX_REQUESTED_PAUSE_S),
        (HttpFailed("refused"), None),
        (Rejected(), None),
    ],
)
def test_what_a_destination_may_ask_for(error: Exception, seconds: float | None) -> None:
    assert requested_pause(error) == seconds
    assert judge(error, CLEAN).retry_after_s == seconds


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RetryLater("busy now"), "busy now"),
        (RetryLater(), "RetryLater"),
        (Rejected("no_text"), "no_text"),
        (HttpFailed("refused"), "refused"),
        (raised("ValueError: bad"), "ValueError: bad"),
    ],
)
def test_the_reason_is_what_the_fault_says(error: Exception, reason: str) -> None:
    assert judge(error, CLEAN).reason == reason
