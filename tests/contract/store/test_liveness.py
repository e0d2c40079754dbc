"""``StoreLiveness`` checks the store's thread, reports each answer, and notices when none arrives."""

import threading
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from aintandem_notify.store import Store, open_liveness, open_storage
from support.outbox import memory


async def test_each_answer_is_reported(autojump_clock: trio.testing.MockClock) -> None:
    answers: list[float] = []
    async with memory() as storage:
        start = trio.current_time()
        async with open_liveness(
            storage, on_answer=lambda: answers.append(trio.current_time() - start), interval_s=10
        ):
            await trio.sleep(35)
    assert [round(moment) for moment in answers] == [0, 10, 20, 30]


async def test_an_error_is_an_answer_too(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    has_answered = trio.Event()
    async with (
        open_storage(path) as storage,
        open_liveness(storage, on_answer=has_answered.set, interval_s=0.01) as liveness,
    ):
        await has_answered.wait()
        assert liveness.latest().trouble is None
        path.rename(tmp_path / "away.db")
        while (trouble := liveness.latest().trouble) is None:
            await liveness.check()
        assert "moved, deleted or replaced" in trouble
        (tmp_path / "away.db").rename(path)
        while liveness.latest().trouble is not None:
            await liveness.check()


async def test_a_stuck_thread_is_no_answer(tmp_path: Path) -> None:
    answers: list[float] = []
    stuck, go_on = threading.Event(), threading.Event()

    def block(store: Store) -> None:
        stuck.set()
        go_on.wait()

    async with open_storage(tmp_path / "store.db") as storage, trio.open_nursery() as nursery:
        has_answered = trio.Event()

        def record_answer() -> None:
            answers.append(trio.current_time())
            has_answered.set()

        async with open_liveness(storage, on_answer=record_answer, interval_s=0.001) as liveness:
            nursery.start_soon(storage.run, block)
            await trio.to_thread.run_sync(stuck.wait)
            await trio.testing.wait_all_tasks_blocked()
            before, silent_s = len(answers), liveness.latest().silent_s
            for _ in range(20):
                await trio.sleep(0.001)  # many times the interval of the checks
            assert len(answers) == before
            assert liveness.latest().silent_s > silent_s
            has_answered = trio.Event()
            go_on.set()
            await has_answered.wait()
            assert liveness.latest().silent_s < silent_s + 60


async def test_a_blocked_loop_between_two_checks_is_no_silence(tmp_path: Path) -> None:
    has_answered = trio.Event()
    async with (
        open_storage(tmp_path / "store.db") as storage,
        open_liveness(storage, on_answer=has_answered.set, interval_s=3600) as liveness,
    ):
        await has_answered.wait()
        time.sleep(0.2)  # noqa: ASYNC251  # blocks the loop on purpose
        assert liveness.latest().silent_s == 0


async def test_an_answer_counts_although_the_blocked_loop_has_not_taken_it(tmp_path: Path) -> None:
    has_answered = trio.Event()
    async with (
        open_storage(tmp_path / "store.db") as storage,
        open_liveness(storage, on_answer=has_answered.set, interval_s=3600) as liveness,
        trio.open_nursery() as nursery,
    ):
        await has_answered.wait()
        touched, go_on, has_gone_on = threading.Event(), threading.Event(), threading.Event()

        def touch(store: Store) -> None:
            touched.set()
            go_on.wait()
            real_touch(store)
            has_gone_on.set()

        real_touch = Store.touch
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Store, "touch", touch)
            nursery.start_soon(liveness.check)
            await trio.to_thread.run_sync(touched.wait)
            await trio.sleep(0.01)
            assert liveness.latest().silent_s > 0
            go_on.set()
            has_gone_on.wait()
            time.sleep(0.2)  # noqa: ASYNC251  # blocks the loop on purpose
            assert liveness.latest().silent_s == 0
