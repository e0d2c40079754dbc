"""The ledger of a chaos run counts lost and repeated notifications."""

import pytest
from benchmarks.chaos.ledger import Arrival, Ledger, RunEnd, run_end_of, worst_recovery
from benchmarks.chaos.run import ChaosResult

A: RunEnd = ("t1", "task_failed")
B: RunEnd = ("t2", "task_failed")


def ledger_of(*arrivals: Arrival) -> Ledger:
    ledger = Ledger(due={A: 1.0, B: 2.0})
    ledger.arrivals["webhook.steady"].extend(arrivals)
    return ledger


def result(ledger: Ledger, in_store: tuple[RunEnd, ...] = (), kills: int = 0) -> ChaosResult:
    account = ledger.account("webhook.steady", in_store)
    return ChaosResult(10, 2, kills, 1, 1, {}, (account,), (), 0, settled=True)


def test_all_that_arrived_once_keeps_the_promise() -> None:
    judged = result(ledger_of(Arrival("n1", A, 1.5), Arrival("n2", B, 2.5)))
    assert judged.violations == []
    assert judged.accounts[0].deliveries == 2


def test_a_missing_delivery_is_lost_unless_the_store_has_it() -> None:
    short = ledger_of(Arrival("n1", A, 1.5))
    assert "lost 1" in result(short).violations[0]
    assert result(short, in_store=(B,)).violations == []
    assert result(short, in_store=(B,)).accounts[0].in_store == 1


def test_a_repeat_needs_a_kill() -> None:
    twice = ledger_of(Arrival("n1", A, 1.5), Arrival("n1", A, 1.6), Arrival("n2", B, 2.5))
    assert "1 came twice, 0 may" in result(twice).violations[0]
    assert result(twice, kills=1).violations == []


def test_one_run_end_under_two_ids_is_never_right() -> None:
    notified_twice = ledger_of(Arrival("n1", A, 1.5), Arrival("n9", A, 1.6), Arrival("n2", B, 2.5))
    assert "told twice of 1" in result(notified_twice, kills=9).violations[0]


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
def test_recovery_counts_from_the_last_fault_that_was_over(
    ends: list[float], arrived: float, worst: float
) -> None:
    assert worst_recovery({A: 1.0}, [Arrival("n1", A, arrived)], ends) == worst


@pytest.mark.parametrize("field", ["taskId", "executionId", "sandboxId", "containerId"])
def test_an_event_is_known_by_its_run_and_type(field: str) -> None:
    assert run_end_of({"type": "sandbox_error", field: "x1"}) == ("x1", "sandbox_error")
