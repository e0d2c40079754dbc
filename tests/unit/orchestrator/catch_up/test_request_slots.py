"""The slots for REST requests, on trio's clock."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from aintandem_notify.config.types.values import Secret
from aintandem_notify.domain.events import Family
from aintandem_notify.domain.observation import Observation
from aintandem_notify.errors import HttpFailed, ServerTrouble
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpAnswer, HttpClient
from aintandem_notify.orchestrator import Login, Session
from aintandem_notify.orchestrator.catch_up.remote_clock import RemoteClock
from aintandem_notify.orchestrator.catch_up.request_slots import (
    MAX_REQUESTS,
    MAX_STALLED,
    STALLED_S,
    RequestSlots,
    free_slots,
)
from aintandem_notify.orchestrator.catch_up.rest_snapshot import SnapshotReader
from aintandem_notify.orchestrator.rest.client import TIMEOUT_S, OrchestratorApi
from support.outbox import NOW

SICK = [f"sick{number}" for number in range(MAX_REQUESTS)]


class ManyProjects(HttpClient):
    """Accepts every login and responds at once, but to projects named "sick…" with status 500, or never."""

    def __init__(self, *, silent: bool) -> None:
        super().__init__()
        self._silent = silent

    async def request(self, method: str, url: str, **options: Any) -> HttpAnswer:
        if url.endswith("/auth/login"):
            return HttpAnswer(200, {}, b'{"success": true, "token": "T"}')
        if "sick" not in url:
            return HttpAnswer(200, {}, b"[]")
        if not self._silent:
            return HttpAnswer(500, {})
        await trio.sleep(options["timeout"])
        raise HttpFailed("no answer", maybe_sent=True)


class Nothing:
    """Expects no observations."""

    transaction_no = 0

    async def reconcile(self, observations: Sequence[Observation], transaction_no: int) -> None:
        assert not observations


async def look(surveyor: SnapshotReader, project: str, done: dict[str, float]) -> None:
    try:
        await surveyor.read(Family.WORKFLOW, project, [], NOW, NOW, Nothing())
    except (HttpFailed, ServerTrouble):
        return
    done[project] = trio.current_time()


def surveyor(*, silent: bool) -> SnapshotReader:
    http = ManyProjects(silent=silent)
    session = Session(
        "http://h",
        Login("admin", Secret("admin123")),
        http=http,
        clock=SystemClock(),
        chance=lambda: 0.0,
        announce=lambda event: pytest.fail(event.reason),
    )
    return SnapshotReader(
        OrchestratorApi(session, http, SystemClock()), SystemClock(), RequestSlots(), RemoteClock()
    )


async def test_a_project_is_read_at_once_while_others_pause_before_a_retry(
    autojump_clock: MockClock,
) -> None:
    mine, done = surveyor(silent=False), dict[str, float]()
    async with trio.open_nursery() as nursery:
        for project in SICK * 3:
            nursery.start_soon(look, mine, project, done)
        await trio.testing.wait_all_tasks_blocked()
        await look(mine, "well", done)
        assert done == {"well": 0.0}


async def test_a_project_waits_a_moment_for_those_that_are_not_answered_and_then_no_more(
    autojump_clock: MockClock,
) -> None:
    mine, done = surveyor(silent=True), dict[str, float]()
    async with trio.open_nursery() as nursery:
        for project in SICK:
            nursery.start_soon(look, mine, project, done)
        await trio.testing.wait_all_tasks_blocked()
        await look(mine, "first", done)
        await trio.sleep(TIMEOUT_S)  # they are requested again, and silent again
        await look(mine, "second", done)
        assert done == {"first": STALLED_S, "second": STALLED_S + TIMEOUT_S}
        nursery.cancel_scope.cancel()


async def test_a_project_that_is_answered_again_is_no_longer_behind_the_others(autojump_clock: MockClock) -> None:
    slots = RequestSlots()
    async with slots.acquire("p"):
        await trio.sleep(STALLED_S)
    async with trio.open_nursery() as nursery:
        for number in range(MAX_STALLED):
            nursery.start_soon(hold, slots, f"p{number}", TIMEOUT_S, [])
        await trio.sleep(STALLED_S)
        with trio.move_on_after(1) as first:
            async with slots.acquire("p"):
                pass
        assert first.cancelled_caught
        await trio.sleep(TIMEOUT_S)
        async with slots.acquire("p"):
            pass
    async with trio.open_nursery() as nursery:
        for number in range(MAX_STALLED):
            nursery.start_soon(hold, slots, f"p{number}", TIMEOUT_S, [])
        await trio.sleep(STALLED_S)
        begun = trio.current_time()
        async with slots.acquire("p"):
            assert trio.current_time() == begun


async def hold(slots: RequestSlots, client: str, seconds: float, began: list[tuple[float, str]]) -> None:
    async with slots.acquire(client):
        began.append((trio.current_time(), client))
        await trio.sleep(seconds)


async def test_turns_are_given_in_order_and_few_at_a_time(autojump_clock: MockClock) -> None:
    slots, began = RequestSlots(), list[tuple[float, str]]()
    names = [f"p{number:02}" for number in range(3 * MAX_REQUESTS)]
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(hold, slots, name, 1.0, began)
            await trio.testing.wait_all_tasks_blocked()
    assert [name for _, name in sorted(began)] == names
    assert Counter(at for at, _ in began) == {0.0: MAX_REQUESTS, 1.0: MAX_REQUESTS, 2.0: MAX_REQUESTS}


async def test_a_cancelled_request_frees_its_slot(autojump_clock: MockClock) -> None:
    slots = RequestSlots()
    for granted in (True, False):
        async with trio.open_nursery() as nursery:
            for number in range(MAX_REQUESTS if granted else 4 * MAX_REQUESTS):
                nursery.start_soon(hold, slots, f"p{number}", 1.0, [])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    began: list[tuple[float, str]] = []
    await hold(slots, "p", 0.0, began)
    assert began == [(0.0, "p")]


@given(st.lists(st.tuples(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.floats(0.0, 40.0)), max_size=60))
def test_never_are_there_more_requests_than_both_rows_allow(requests: list[tuple[str, float]]) -> None:
    slots, peak, done = RequestSlots(), 0, 0

    async def send(client: str, seconds: float) -> None:
        nonlocal peak, done
        async with slots.acquire(client):
            peak = max(peak, len(slots._in_flight))
            await trio.sleep(seconds)
        done += 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for client, seconds in requests:
                nursery.start_soon(send, client, seconds)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert peak <= MAX_REQUESTS + MAX_STALLED
    assert done == len(requests)
    assert not slots._in_flight


@given(st.integers(0, MAX_REQUESTS + MAX_STALLED), st.integers(0, MAX_REQUESTS + MAX_STALLED))
def test_stalled_requests_take_room_from_the_others_only_when_they_are_too_many(quick: int, stalled: int) -> None:
    for_quick, for_stalled = free_slots(quick, stalled)
    assert min(for_quick, for_stalled) >= 0
    assert for_quick == max(0, MAX_REQUESTS - quick - max(0, stalled - MAX_STALLED))
    assert quick + for_quick <= max(quick, MAX_REQUESTS)
    assert stalled + for_stalled <= max(stalled, MAX_STALLED)
