"""Work that a cancellation does not interrupt in the middle."""

import pytest
import trio
import trio.testing

from aintandem_notify.orchestrator.auth.shielded import run_to_completion


async def test_uncancelled_it_only_runs(autojump_clock: trio.testing.MockClock) -> None:
    async def act() -> str:
        await trio.sleep(1000)
        return "done"

    assert await run_to_completion(act, grace_s=5) == "done"
    assert trio.current_time() == 1000


async def test_an_error_comes_out_as_it_is() -> None:
    failure = ExceptionGroup("two at once", [ValueError(), KeyError()])

    async def act() -> None:
        raise failure

    with pytest.raises(ExceptionGroup) as raised:
        await run_to_completion(act, grace_s=5)
    assert raised.value is failure


@pytest.mark.parametrize(("takes", "ends_at", "results"), [(4, 4, ["result"]), (9, 7, []), (1, 2, ["result"])])
async def test_a_cancellation_waits_for_the_end_or_for_the_grace(
    takes: float, ends_at: float, results: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    """The caller is cancelled after 2 s; the grace is 5 s."""
    done: list[str] = []

    async def act() -> None:
        await trio.sleep(takes)
        done.append("result")

    with trio.move_on_after(2) as scope:
        await run_to_completion(act, grace_s=5)
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == ends_at
    assert done == results


@pytest.mark.parametrize("error", [None, ValueError()])
async def test_the_caller_gets_a_plain_cancellation(
    error: Exception | None, autojump_clock: trio.testing.MockClock
) -> None:
    async def act() -> None:
        await trio.sleep(3)
        if error is not None:
            raise error

    with trio.move_on_after(2) as scope:
        with pytest.raises(trio.Cancelled):
            await run_to_completion(act, grace_s=5)
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_work_does_not_begin_if_already_cancelled() -> None:
    begun: list[str] = []

    async def act() -> None:
        begun.append("begun")

    with trio.CancelScope() as scope:
        scope.cancel()
        await run_to_completion(act, grace_s=5)
    assert scope.cancelled_caught
    assert begun == []
