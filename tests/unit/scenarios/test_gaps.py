from datetime import timedelta

from aintandem_notify.domain.runs import RunState, advance
from aintandem_notify.scenarios.gaps import observe
from support.outbox import NOW, event


def test_only_the_last_state_of_each_run_is_to_be_seen() -> None:
    missed = [
        event("task_started", "a", 10, task="train"),
        event("task_failed", "a", 20, error="boom"),
        event("task_started", "b", 30),
        event("task_completed", "c", 35, output="fine", duration=5),
        event("task_started", "a", 40),
    ]
    later = NOW + timedelta(seconds=60)
    seen = {item.ref.id: item for item in observe({}, missed, later)}
    assert {name: item.state for name, item in seen.items()} == {
        "a": RunState.RUNNING,
        "b": RunState.RUNNING,
        "c": RunState.COMPLETED,
    }
    assert (seen["a"].name, seen["a"].error, seen["a"].asked_at) == ("train", None, later)
    assert (seen["c"].output, seen["c"].duration) == ("fine", 5)


def test_a_run_that_was_known_keeps_its_beginning() -> None:
    known = advance(None, event("task_started", "a", 10, task="train"))
    [seen] = observe({known.ref: known}, [event("task_failed", "a", 20, error="boom")], NOW)
    assert (seen.name, seen.started_at, seen.error) == ("train", NOW + timedelta(seconds=10), "boom")
    assert seen.ended_at == NOW + timedelta(seconds=20)
