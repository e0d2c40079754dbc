"""How a chaos run is judged."""

import pytest
from benchmarks.chaos.ledger import Arrival, Happening, Ledger, happening_of, worst_recovery
from benchmarks.chaos.run import Outcome

A: Happening = ("t1", "task_failed")
B: Happening = ("t2", "task_failed")


def ledger(*arrivals: Arrival) -> Ledger:
    found = Ledger(due={A: 1.0, B: 2.0})
    found.arrivals["webhook.steady"].extend(arrivals)
    return found


def outcome(found: Ledger, kept: tuple[Happening, ...] = (), kills: int = 0) -> Outcome:
    account = found.account("webhook.steady", kept)
    return Outcome(10, 2, kills, 1, 1, {}, (account,), (), 0, settled=True)


def test_all_that_arrived_once_keeps_the_promise() -> None:
    found = outcome(ledger(Arrival("n1", A, 1.5), Arrival("n2", B, 2.5)))
    assert found.broken == []
    assert found.accounts[0].deliveries == 2


def test_what_did_not_arrive_is_lost_unless_the_store_has_it() -> None:
    short = ledger(Arrival("n1", A, 1.5))
    assert "lost 1" in outcome(short).broken[0]
    assert outcome(short, kept=(B,)).broken == []
    assert outcome(short, kept=(B,)).accounts[0].kept == 1


def test_a_repeat_needs_a_kill() -> None:
    twice = ledger(Arrival("n1", A, 1.5), Arrival("n1", A, 1.6), Arrival("n2", B, 2.5))
    assert "1 came twice, 0 may" in outcome(twice).broken[0]
    assert outcome(twice, kills=1).broken == []


def test_one_happening_under_two_ids_is_never_right() -> None:
    told_twice = ledger(Arrival("n1", A, 1.5), Arrival("n9", A, 1.6), Arrival("n2", B, 2.5))
    assert "told twice of 1" in outcome(told_twice, kills=9).broken[0]


@pytest.mark.parametrize(
    ("ends", "arrived", "worst"),
    [
        ([], 9.0, 0.0),
        ([5.0], 9.0, 4.0),
        ([5.0, 8.0], 9.0, 1.0),
        ([0.5], 9.0, 0.0),  # over before it happened
        ([20.0], 9.0, 0.0),  # not over when it arrived
    ],
)
def test_recovery_counts_from_the_last_trouble_that_was_over(
    ends: list[float], arrived: float, worst: float
) -> None:
    assert worst_recovery({A: 1.0}, [Arrival("n1", A, arrived)], ends) == worst


@pytest.mark.parametrize("field", ["taskId", "executionId", "sandboxId", "containerId"])
def test_an_event_is_known_by_its_run_and_type(field: str) -> None:
    assert happening_of({"type": "sandbox_error", field: "x1"}) == ("x1", "sandbox_error")
