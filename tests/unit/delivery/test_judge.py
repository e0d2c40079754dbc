"""Every cell of the verdict table: the raised exception, and the delivery's history."""

import pytest

from aintandem_notify.delivery.judge import (
    MAX_BLAME,
    MAX_REQUESTED_PAUSE_S,
    MIN_BLAMED_AGE_S,
    SUSPECT_AFTER,
    Action,
    FaultHistory,
    Verdict,
    assign_blame,
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
    assert [judge(raised("odd"), history, plain=True).reason for history in (CLEAN, ONCE)] == [
        "odd",
        "odd (2 times)",
    ]


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


LAST = MAX_BLAME - 1
WELL, COMMON, NEITHER = (True, False), (False, True), (False, False)


@pytest.mark.parametrize(
    ("blame", "state", "action", "then"),
    [
        *((blame, state, Action.WAIT, blame + 1) for blame in (0, 1, 2) for state in (WELL, COMMON, NEITHER)),
        (3, WELL, Action.RETRY, 4),
        (3, NEITHER, Action.WAIT, 3),
        (3, COMMON, Action.WAIT, 3),
        (4, WELL, Action.RETRY, 5),
        (4, NEITHER, Action.WAIT, 4),
        (4, COMMON, Action.WAIT, 3),
        (LAST, WELL, Action.GIVE_UP, MAX_BLAME),
        (LAST, NEITHER, Action.WAIT, LAST),
        (LAST, COMMON, Action.WAIT, LAST - 1),
        (MAX_BLAME, WELL, Action.GIVE_UP, MAX_BLAME + 1),
        (MAX_BLAME, NEITHER, Action.WAIT, MAX_BLAME),
        (MAX_BLAME, COMMON, Action.WAIT, LAST),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_only_failures_between_successes_make_it_the_message_s_trouble(
    blame: int, state: tuple[bool, bool], action: Action, then: int, plain: bool
) -> None:
    is_well, is_common = state
    before = Verdict(Action.WAIT, "HTTP 500", history=FaultHistory(KEY_ERROR, 2, blame))
    after = assign_blame(before, is_well=is_well, is_common=is_common, age_s=MIN_BLAMED_AGE_S, plain=plain)
    assert (after.action, after.history) == (action, FaultHistory(KEY_ERROR, 2, then))
    assert after.history.is_suspect is (then >= SUSPECT_AFTER)
    assert after.retries_as_plain is (action is Action.GIVE_UP and not plain)
    text = f"the destination took other messages, but failed {then} times on this one: HTTP 500"
    assert after.reason == (text if action is Action.GIVE_UP else "HTTP 500")


@pytest.mark.parametrize("blame", range(MAX_BLAME + 2))
@pytest.mark.parametrize("state", [WELL, COMMON, NEITHER])
def test_what_is_not_in_doubt_blames_nobody(blame: int, state: tuple[bool, bool]) -> None:
    """A requested pause is the destination's trouble, other verdicts have decided already."""
    history = FaultHistory(blame=blame)
    verdicts = [Verdict(action, "why", history=history) for action in Action if action is not Action.WAIT]
    for verdict in [*verdicts, Verdict(Action.WAIT, "why", 30.0, history)]:
        assert assign_blame(verdict, is_well=state[0], is_common=state[1], age_s=1e9) == verdict


def test_a_fault_of_the_plugin_leaves_the_blame() -> None:
    history = judge(raised("a"), FaultHistory(blame=4)).history
    assert history == FaultHistory(KEY_ERROR, 1, 4)


def test_the_blame_ends_no_message_before_a_burst_has_gone_out() -> None:
    before = Verdict(Action.WAIT, "HTTP 503", history=FaultHistory(blame=MAX_BLAME + 40))
    young = assign_blame(before, is_well=True, is_common=False, age_s=MIN_BLAMED_AGE_S - 1)
    assert (young.action, young.history.blame) == (Action.RETRY, MAX_BLAME + 41)
    old = assign_blame(before, is_well=True, is_common=False, age_s=MIN_BLAMED_AGE_S)
    assert (old.action, old.retries_as_plain) == (Action.GIVE_UP, True)
