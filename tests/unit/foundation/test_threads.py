"""Threads that the system refuses to start: work waits for one, and does not run twice."""

import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import aintandem_notify
from aintandem_notify.foundation import threads
from aintandem_notify.foundation.threads import is_thread_start_failure, run_in_thread

REFUSED = "can't start new thread"


def refuse(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The system refuses to start a thread so many times."""
    start, refusals = trio.to_thread.run_sync, [times]

    async def run_sync(*args: Any, **kwargs: Any) -> Any:
        refusals[0] -= 1
        if refusals[0] >= 0:
            raise RuntimeError(REFUSED)
        return await start(*args, **kwargs)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    monkeypatch.setattr(threads, "_logged_at", None)


async def test_work_waits_until_a_thread_can_be_started_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(monkeypatch, 50)
    with caplog.at_level(logging.WARNING):
        assert await run_in_thread(divmod, 7, 2, retry_s=0.0) == (3, 1)
    assert [record.getMessage() for record in caplog.records] == [f"work waits: {threads.NO_MORE_THREADS}"]


async def test_the_wait_for_a_thread_can_be_cancelled(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    refuse(monkeypatch, 1_000_000)
    with trio.move_on_after(30.0) as scope:
        await run_in_thread(list)
    assert scope.cancelled_caught


async def test_work_that_finds_no_thread_of_its_own_is_not_done_twice() -> None:
    done: list[int] = []

    def work() -> None:
        done.append(1)
        raise RuntimeError(REFUSED)

    with pytest.raises(RuntimeError, match=REFUSED):
        await run_in_thread(work)
    assert done == [1]


@pytest.mark.parametrize("error", [RuntimeError("another"), OSError(REFUSED), RuntimeError(REFUSED, 2)])
def test_other_errors_are_no_refusal(error: Exception) -> None:
    assert not is_thread_start_failure(error)


def test_all_threads_of_trio_start_in_this_module() -> None:
    package = Path(aintandem_notify.__file__).parent
    modules = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "trio.to_thread" in path.read_text()
    }
    # Without a thread for the store the start fails with a sentence; the library's calls raise.
    assert modules == {"foundation/threads.py", "store/storage.py", "client/token_stores.py"}
