"""A project is watched: states, events, tokens and the store, with planned links in virtual time."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from aintandem_notify import log
from aintandem_notify.domain.events import BinaryFrame, ConnectionDisconnectedEvent, ConnectionErrorEvent, Event
from aintandem_notify.domain.notification import Project
from aintandem_notify.errors import (
    AuthenticationFailed,
    HttpFailed,
    LinkLost,
    LinkRefused,
    OrchestratorError,
    ProjectGone,
    StoreError,
)
from aintandem_notify.orchestrator.auth.login_status import LoginStatus
from aintandem_notify.orchestrator.link import frames
from aintandem_notify.orchestrator.link.connection_slots import ConnectionSlots
from aintandem_notify.orchestrator.link.reconnect_policy import ConnectionTrouble
from aintandem_notify.orchestrator.link.states import ConnectionState
from aintandem_notify.orchestrator.watch.status import ProjectStatus, StatusTracker
from support.planned_links import FOR_EVER, PROJECT, Plan, World
from support.trio_clock import TrioClock


def task(number: int) -> str:
    return (
        f'{{"type": "task_started", "timestamp": "2026-01-01T00:00:00Z", "projectId": "p", "taskId": "t{number}"}}'
    )


@pytest.fixture
def world() -> World:
    return World()


async def test_events_come_through_in_order(world: World, autojump_clock: MockClock) -> None:
    world.plans.append(
        Plan(batches=[[task(1), "rubbish", task(2)], ['{"type": "pong"}'], [BinaryFrame(b"\x00"), task(3)]])
    )
    await world.watch(10)
    assert world.types == ["connection_connected", "task_started", "task_started", "task_started"]
    assert [event.run_id for event in world.events[1:]] == ["t1", "t2", "t3"]
    status = world.statuses[-1]
    assert (status.frames, status.events, status.flaws) == (6, 3, {"malformed": 1, "binary": 1})
    assert len(world.store_tries) == 3, "a batch without events does not bother the store"


async def test_long_frames_are_cut_beside_the_loop_and_stay_in_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_by: list[int] = []

    def cut(event: Event, limit: int) -> Event:
        cut_by.append(threading.get_ident())
        return event

    monkeypatch.setattr(frames, "fit_event", cut)
    world.max_event_characters = 200
    long, last = (task(number) + " " * 200 for number in (2, 4))
    world.plans.append(Plan(batches=[[task(1)], [long, task(3)]], unread=[last]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.watch, FOR_EVER)
        while len(world.events) < 4:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert [event.run_id for event in world.events[1:]] == ["t1", "t2", "t3", "t4"]
    assert len(cut_by) == 2
    assert threading.get_ident() not in cut_by


async def test_states_in_turn(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(lasts=5), Plan(refusal=LinkLost("no")), Plan()]
    await world.watch(100)
    assert [state.value for state in world.states] == [
        "connecting",
        "connected",
        "reconnecting",
        "connected",
        "disconnecting",
        "disconnected",
    ]


@pytest.mark.parametrize(
    ("login", "shown"),
    [
        (LoginStatus(), "waits for the answer to the login"),
        (LoginStatus(refused="wrong password"), "wrong password"),
        (LoginStatus(refused="wrong password", unreachable="no answer"), "no answer"),
    ],
)
async def test_the_status_says_why_there_is_no_token_yet(
    login: LoginStatus, shown: str, world: World, autojump_clock: MockClock
) -> None:
    world.login_takes, world.login_status = 30.0, login
    await world.watch(29)
    assert {status.last_error for status in world.statuses[1:]} == {shown}
    world.statuses.clear()
    await world.watch(100)
    assert world.statuses[-1].last_error is None


async def test_the_status_names_the_kind_of_trouble_until_it_ends(world: World, autojump_clock: MockClock) -> None:
    world.session_fails += [AuthenticationFailed("wrong password", status=401), HttpFailed("no answer")]
    world.plans += [Plan(refusal=ProjectGone("unknown")), Plan(refusal=LinkLost("broken"))]
    await world.watch(1000)
    shown = [(status.trouble, status.last_error) for status in world.statuses if status.trouble is not None]
    assert list(dict.fromkeys(shown)) == [
        (ConnectionTrouble.REFUSED, "wrong password (HTTP 401)"),
        (ConnectionTrouble.LOST, "no answer"),
        (ConnectionTrouble.GONE, "unknown"),
        (ConnectionTrouble.LOST, "broken"),
    ]
    assert (world.statuses[-1].trouble, world.statuses[-1].last_error) == (None, None)


async def test_a_refused_token_is_renewed_without_a_word(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(refusal=LinkRefused("no", 401))] * 2
    await world.watch(10)
    assert world.tries == [(0, "T1"), (0, "T2"), (0, "T3")]
    assert world.renewals == ["T1", "T2"]
    assert world.types == ["connection_connected"]


async def test_a_repeated_refusal_is_reported_and_retried_slowly(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(refusal=LinkRefused("no", 401))] * 6
    await world.watch(10_000, chance=0.0)
    assert [when for when, _ in world.tries] == [0, 0, 0, 10, 40, 100, 400]
    assert world.types == ["connection_error", "connection_connected"]
    assert world.renewals == ["T1", "T2", "T3", "T4", "T5", "T6"]


async def test_a_project_that_is_forbidden_does_not_use_up_tokens(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(refusal=LinkRefused("no", 403))] * 6
    await world.watch(10_000, chance=0.0)
    assert world.renewals == ["T1", "T2"]


async def test_accepting_and_then_refusing_is_no_hot_loop(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(lasts=0, end=LinkRefused("no", 4401))] * 6
    await world.watch(10_000, chance=0.0)
    assert [when for when, _ in world.tries] == [0, 0, 0, 10, 40, 100, 400]
    codes = [event.code for event in world.events if isinstance(event, ConnectionDisconnectedEvent)]
    assert codes == [4401] * 6


async def test_a_token_that_cannot_be_renewed_is_reported(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(refusal=LinkRefused("no", 401))]
    world.renewal_fails = AuthenticationFailed("wrong password", status=401)
    await world.watch(100, chance=0.0)
    assert [when for when, _ in world.tries] == [0, 10]
    error = world.events[0]
    assert isinstance(error, ConnectionErrorEvent)
    assert error.error == "wrong password (HTTP 401)"


async def test_a_login_without_an_answer_is_tried_again_soon(world: World, autojump_clock: MockClock) -> None:
    world.session_fails += [HttpFailed("refused")] * 3
    await world.watch(100)
    assert [when for when, _ in world.tries] == [7]
    assert world.types == ["connection_error", "connection_connected"]


async def test_a_project_that_is_gone_is_retried_slowly(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(refusal=ProjectGone("no such project"))] * 3
    await world.watch(10_000, chance=0.0)
    assert [when for when, _ in world.tries] == [0, 10, 40, 100]
    assert world.types == ["connection_error", "connection_connected"]


async def test_kinds_of_trouble_are_distinguished(world: World, autojump_clock: MockClock) -> None:
    world.plans += [
        Plan(refusal=LinkLost("a")),
        Plan(refusal=LinkLost("b")),
        Plan(refusal=ProjectGone("c")),
        Plan(refusal=LinkLost("d")),
        Plan(refusal=ProjectGone("e")),
    ]
    await world.watch(10_000)
    assert [error.error for error in world.errors] == ["a", "c"]


async def test_a_token_is_renewed_before_its_end(world: World, autojump_clock: MockClock) -> None:
    world.lifetime = 1000
    await world.watch(2000, chance=0.5)
    assert world.tries == [(0, "T1"), (825, "T2"), (1650, "T3")]
    assert world.types == ["connection_connected"], "nothing happened that anybody should know"
    assert world.states == ["connecting", "connected", "disconnecting", "disconnected"]
    assert world.most_links == 2, "the next is open before the last is closed"


class NoSecond(ConnectionSlots):
    """Other projects replace their links all the time."""

    @contextmanager
    def acquire_second(self) -> Iterator[bool]:
        yield False


async def test_without_a_place_for_another_link_the_renewal_waits(world: World, autojump_clock: MockClock) -> None:
    world.lifetime = 1000
    world.places = NoSecond()
    await world.watch(990)
    assert [token for _, token in world.tries] == ["T1"]
    assert world.renewals == []


async def test_a_project_that_waits_for_a_slot_shows_it_and_connects_in_its_turn(
    world: World, autojump_clock: MockClock
) -> None:
    world.places = ConnectionSlots(1)

    async def another() -> None:
        async with world.places.acquire():
            await trio.sleep(60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(another)
        await trio.testing.wait_all_tasks_blocked()
        await world.watch(100)
    assert [when for when, _ in world.tries] == [60]
    assert "waits for its turn: the limit of open files leaves room for 1 projects at a time" in {
        status.last_error for status in world.statuses if status.state is ConnectionState.CONNECTING
    }
    connected = [status for status in world.statuses if status.state is ConnectionState.CONNECTED]
    assert connected[-1].last_error is None


async def test_frames_that_arrive_while_the_token_is_renewed_are_stored(
    world: World, autojump_clock: MockClock
) -> None:
    """Events keep their order, and a frame on both links counts once."""
    world.lifetime = 1000
    world.plans += [Plan(unread=[task(1), task(2)]), Plan(unread=[task(2), task(3)], batches=[[task(4)]])]
    await world.watch(900, chance=0.5)
    assert world.types == ["connection_connected", *["task_started"] * 4]
    assert [event.run_id for event in world.events[1:]] == ["t1", "t2", "t3", "t4"]


async def test_a_link_that_is_no_longer_needed_may_end_badly(world: World, autojump_clock: MockClock) -> None:
    world.lifetime = 1000
    world.plans += [Plan(trouble=LinkLost("broken"), lasts=900), Plan(batches=[[task(1)]])]
    await world.watch(850, chance=0.5)
    assert world.types == ["connection_connected", "task_started"]
    assert world.statuses[-1].last_error is None


@pytest.mark.parametrize("refusal", [LinkLost("no"), LinkRefused("no", 401), ProjectGone("no")])
async def test_a_link_goes_on_while_no_other_can_be_opened(
    world: World, autojump_clock: MockClock, refusal: OrchestratorError
) -> None:
    world.lifetime = 1000
    world.plans += [Plan(), Plan(refusal=refusal), Plan(refusal=refusal)]
    await world.watch(1000, chance=0.0)
    assert [when for when, _ in world.tries] == [0, 750, 780, 810]
    assert world.types == ["connection_connected"]
    assert world.states == ["connecting", "connected", "disconnecting", "disconnected"]


async def test_a_link_goes_on_while_there_is_no_other_token(world: World, autojump_clock: MockClock) -> None:
    world.lifetime = 1000
    world.plans += [Plan()]
    await world.token()
    world.session_fails += [HttpFailed("down"), AuthenticationFailed("no", status=401)]
    await world.watch(1000, chance=0.0)
    assert world.tries == [(0, "T1"), (810, "T2")]


async def test_a_store_in_trouble_pauses_reading(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(batches=[[task(1)], [task(2)]])]
    world.store_fails = 5
    await world.watch(100)
    assert world.store_tries[:6] == [0, 1, 3, 7, 15, 31]
    assert world.types == ["connection_connected", "task_started", "task_started"]
    assert any(status.last_error == "cannot store events: the disk is full" for status in world.statuses)
    assert world.statuses[-1].last_error is None


async def test_events_that_were_read_are_stored_before_the_end(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(batches=[[task(1)]], unread=[task(2), task(3)])]
    await world.watch(5)
    assert [event.run_id for event in world.events[1:]] == ["t1", "t2", "t3"]


async def test_a_batch_on_its_way_to_the_store_is_not_forgotten(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(batches=[[], [task(1)]], unread=[task(2)])]
    await world.watch(5)
    world.plans += [Plan(batches=[[task(3)]], unread=[task(4)])]
    world.events.clear()

    async def fails_until_the_end(project: Project, events: Sequence[Event]) -> None:
        if events[0].type == "task_started" and trio.current_effective_deadline() > trio.current_time() + 3:
            raise StoreError("busy")
        world.events += events

    world.sink = fails_until_the_end  # type: ignore[method-assign]
    await world.watch(50)
    assert [event.run_id for event in world.events[1:]] == ["t3", "t4"]


async def test_a_broken_store_does_not_hold_back_the_end(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(batches=[[task(1)]])]
    await world.watch(0)
    world.store_fails = 10**6
    begun = trio.current_time()
    await world.watch(50)
    assert trio.current_time() - begun <= 52


async def test_a_message_too_big_is_counted_and_backs_off(world: World, autojump_clock: MockClock) -> None:
    """Even after a stable time: the server may send the same frame again, and it is rejected again."""
    world.plans += [Plan(lasts=100, end=LinkLost("too big", 1009))] * 4
    await world.watch(1000)
    assert [when for when, _ in world.tries] == [0, 101, 203, 307, 415]
    assert world.statuses[-1].flaws == {"message too big": 4}


async def test_a_look_up_that_fails_again_has_failed_since_the_first_time() -> None:
    statuses: list[ProjectStatus] = []
    clock = TrioClock()
    tracker = StatusTracker(
        PROJECT, frames.FrameReader("p", clock, log.get_logger("test")), clock, statuses.append
    )
    tracker.note_lookup(None)
    assert statuses == []
    for error in ("HTTP 500", "HTTP 502"):
        tracker.note_lookup(error)
    tracker.note_lookup(None)
    seen = [(status.lookup_error, status.lookup_failed_since) for status in statuses]
    assert seen[0] == ("HTTP 500", seen[1][1])
    assert seen[1:] == [("HTTP 502", seen[0][1]), (None, None)]
