"""The connection loop of one project, over scripted links, on trio's clock."""

import math
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from aintandem_notify import log
from aintandem_notify.config import ConnectionConfig
from aintandem_notify.domain.events import BinaryFrame, ConnectionDisconnectedEvent, ConnectionErrorEvent, Event
from aintandem_notify.domain.notification import Project
from aintandem_notify.errors import (
    ApiError,
    AuthenticationFailed,
    HttpFailed,
    LinkLost,
    LinkRefused,
    OrchestratorError,
    ProjectGone,
    ServerTrouble,
    StoreError,
)
from aintandem_notify.foundation.clock import TrioClock
from aintandem_notify.orchestrator.auth.login_status import LoginStatus
from aintandem_notify.orchestrator.auth.tokens import Token, TokenOrigin
from aintandem_notify.orchestrator.link import frames
from aintandem_notify.orchestrator.link.connection_slots import ConnectionSlots
from aintandem_notify.orchestrator.link.reconnect_policy import ConnectionTrouble
from aintandem_notify.orchestrator.link.states import ConnectionState
from aintandem_notify.orchestrator.link.websocket import Frame, Link
from aintandem_notify.orchestrator.protocol.address import SocketTarget, socket_target
from aintandem_notify.orchestrator.watch.project import watch_project
from aintandem_notify.orchestrator.watch.settings import WatchSettings
from aintandem_notify.orchestrator.watch.status import ProjectStatus
from aintandem_notify.orchestrator.watch.status_tracker import StatusTracker

PROJECT = Project(id="p", name="Sales")
FOR_EVER = math.inf


def task(number: int) -> str:
    return (
        f'{{"type": "task_started", "timestamp": "2026-01-01T00:00:00Z", "projectId": "p", "taskId": "t{number}"}}'
    )


@dataclass
class Plan:
    """One connection: refused with ``refusal``, or open for ``lasts`` seconds, with batches on the way.

    ``left`` arrives when it is being closed, ``trouble`` comes out of that.
    """

    refusal: OrchestratorError | None = None
    batches: Sequence[Sequence[Frame]] = ()
    lasts: float = FOR_EVER
    end: OrchestratorError = field(default_factory=lambda: LinkLost("gone away", 1001))
    unread: Sequence[Frame] = ()
    trouble: OrchestratorError | None = None


class PlannedLink:
    def __init__(self, plan: Plan) -> None:
        self._batches = deque(plan.batches)
        self._plan = plan
        self._ends_at = trio.current_time() + plan.lasts
        self.closed = trio.Event()
        self._finished = trio.Event()

    @property
    def last_received_at(self) -> float:
        return trio.current_time()

    async def receive_batch(self) -> list[Frame]:
        if self._batches:
            return list(self._batches.popleft())
        with trio.move_on_at(self._ends_at):
            await self.closed.wait()
            if unread := self.take_buffered():
                return unread
        raise self._plan.end

    async def run(self) -> None:
        await self._finished.wait()

    async def finish(self) -> None:
        await trio.lowlevel.checkpoint()
        self._finished.set()

    def take_buffered(self) -> list[Frame]:
        unread, self._plan = self._plan.unread, replace(self._plan, unread=())
        return list(unread)


@dataclass
class World:
    """The orchestrator and the store of one project. Every try is recorded with its time and token."""

    plans: deque[Plan] = field(default_factory=deque)
    tokens: dict[str, Token] = field(default_factory=dict)
    tries: list[tuple[float, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    event_times: list[float] = field(default_factory=list)
    statuses: list[ProjectStatus] = field(default_factory=list)
    renewals: list[str] = field(default_factory=list)
    store_fails: int = 0
    store_tries: list[float] = field(default_factory=list)
    session_fails: deque[Exception] = field(default_factory=deque)
    login_takes: float = 0.0
    login_status: LoginStatus = field(default_factory=LoginStatus)
    renewal_fails: Exception | None = None
    lifetime: float = FOR_EVER
    fatal: frozenset[ConnectionTrouble] = frozenset()
    reports_every_try: bool = False
    rest_knows: deque[bool | ApiError | HttpFailed] | None = None
    rest_takes: float = 0.0
    lookups: list[float] = field(default_factory=list)
    places: ConnectionSlots = field(default_factory=ConnectionSlots)
    max_event_characters: int | None = None
    gave_up_for: Exception | None = None
    open_links: int = 0
    most_links: int = 0

    def __post_init__(self) -> None:
        self._present: Token | None = None
        self._count = 0

    def _new(self) -> Token:
        self._count += 1
        now, life = trio.current_time(), self.lifetime
        origin = TokenOrigin.LOGIN if self._count == 1 else TokenOrigin.REFRESH
        self._present = Token(f"T{self._count}", origin, None, now + life * 0.75, now + life * 0.9)
        return self._present

    async def token(self) -> Token:
        if self._present is None or trio.current_time() >= self._present.renew_from:
            await trio.sleep(self.login_takes)
            if self.session_fails:
                raise self.session_fails.popleft()
            return self._new()
        return self._present

    async def renew(self, refused: Token) -> Token:
        self.renewals.append(refused.text)
        if self.renewal_fails is not None:
            raise self.renewal_fails
        return self._new()

    async def is_known(self, project_id: str) -> bool:
        assert self.rest_knows is not None
        self.lookups.append(trio.current_time())
        await trio.sleep(self.rest_takes)
        answer = self.rest_knows.popleft() if len(self.rest_knows) > 1 else self.rest_knows[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def note_accepted(self, token: Token) -> None:
        pass

    def socket(self, project_id: str, token: Token) -> SocketTarget:
        return socket_target("http://h/api", project_id, token.text)

    @asynccontextmanager
    async def connect(self, target: SocketTarget) -> AsyncIterator[Link]:
        self.tries.append((trio.current_time(), target.resource.rpartition("=")[2]))
        plan = self.plans.popleft() if self.plans else Plan()
        if plan.refusal is not None:
            raise plan.refusal
        self.open_links += 1
        self.most_links = max(self.most_links, self.open_links)
        link = PlannedLink(plan)
        try:
            yield link
        finally:
            self.open_links -= 1
            link.closed.set()
            if plan.trouble is not None:
                raise plan.trouble

    async def sink(self, project: Project, events: Sequence[Event]) -> None:
        assert project is PROJECT
        self.store_tries.append(trio.current_time())
        if self.store_fails:
            self.store_fails -= 1
            raise StoreError("the disk is full")
        self.events += events
        self.event_times += [trio.current_time()] * len(events)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def errors(self) -> list[ConnectionErrorEvent]:
        return [event for event in self.events if isinstance(event, ConnectionErrorEvent)]

    @property
    def states(self) -> list[ConnectionState]:
        """All states, in order."""
        states: list[ConnectionState] = []
        for status in self.statuses:
            if not states or states[-1] is not status.state:
                states.append(status.state)
        return states

    async def watch(self, seconds: float, *, chance: float = 1.0, **connection: Any) -> None:
        """Watch the project for a while."""
        settings = WatchSettings(
            session=self,
            connect=self.connect,
            backoff=ConnectionConfig.model_construct(**{**ConnectionConfig().model_dump(), **connection}),
            sink=self.sink,
            clock=TrioClock(),
            chance=lambda: chance,
            fatal=self.fatal,
            reports_every_try=self.reports_every_try,
            is_known=self.is_known if self.rest_knows is not None else None,
            slots=self.places,
            max_event_characters=self.max_event_characters,
        )
        with trio.move_on_after(seconds):
            self.gave_up_for = await watch_project(PROJECT, settings, self.statuses.append)
        assert self.open_links == 0


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


NOT_FOUND = ProjectGone("the orchestrator does not know the project (HTTP 404)", 404)


ANSWERS_404 = "the orchestrator answers HTTP 404 at the socket"
KNOWN = "although its REST API knows the project"
PROXY = f"{ANSWERS_404} {KNOWN}: does a proxy in front of it pass WebSocket upgrades?"
DOUBT = f"{ANSWERS_404}, and its REST API could not say whether it knows the project"


@pytest.mark.parametrize(
    ("end", "reason"),
    [(NOT_FOUND, PROXY), (ProjectGone("gone"), f"the orchestrator closes the socket with 4404 {KNOWN}")],
)
async def test_a_project_that_rest_knows_is_not_gone(
    end: ProjectGone, reason: str, world: World, autojump_clock: MockClock
) -> None:
    world.rest_knows = deque([True])
    world.fatal = frozenset({ConnectionTrouble.GONE})
    world.plans += [Plan(refusal=end) for _ in range(40)]
    await world.watch(1000)
    assert [when for when, _ in world.tries[:9]] == [0, 1, 3, 7, 15, 31, 61, 91, 121], "the pauses of a lost link"
    assert [error.error for error in world.errors] == [reason]
    assert world.errors[0].will_reconnect
    failed = world.statuses[-3]
    assert (failed.trouble, failed.gone, failed.last_error) == (ConnectionTrouble.LOST, False, reason)
    assert world.lookups[:4] == [0, 61, 121, 181], "asked once in a while, however often it is tried"


async def test_a_project_is_gone_only_while_rest_says_so(world: World, autojump_clock: MockClock) -> None:
    world.rest_knows = deque([HttpFailed("refused"), False, False, ServerTrouble("busy", status=503), True])
    world.plans += [Plan(refusal=NOT_FOUND) for _ in range(5)]
    await world.watch(1000)
    shown = [(status.gone, status.last_error) for status in world.statuses if status.trouble is not None]
    assert list(dict.fromkeys(shown)) == [
        (False, f"{DOUBT}: refused"),
        (True, str(NOT_FOUND)),
        (False, f"{DOUBT}: busy (HTTP 503)"),
        (False, PROXY),
    ]
    assert world.statuses[-1].was_connected
    assert not world.statuses[-1].gone


async def test_a_rest_api_that_does_not_answer_delays_no_try_for_long(
    world: World, autojump_clock: MockClock
) -> None:
    world.rest_knows, world.rest_takes = deque([False]), 3600.0
    world.plans += [Plan(refusal=NOT_FOUND) for _ in range(2)]
    await world.watch(100)
    assert [when for when, _ in world.tries] == [0, 16, 33]
    assert [error.error for error in world.errors] == [f"{DOUBT}: no answer within 15 s"]


async def test_a_token_that_cannot_be_renewed_is_the_reason_that_is_shown(
    world: World, autojump_clock: MockClock
) -> None:
    world.plans += [Plan(refusal=LinkRefused("refused", 401)) for _ in range(9)]
    world.renewal_fails = HttpFailed("no answer")
    await world.watch(1000)
    failed = [status for status in world.statuses if status.attempts == 9]
    assert (failed[-1].last_error, failed[-1].trouble) == ("no answer", ConnectionTrouble.LOST)


async def test_a_lost_link_is_reported_and_reconnects(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(lasts=100, end=LinkLost("the orchestrator restarts", 1012))]
    await world.watch(1000)
    assert world.types == ["connection_connected", "connection_disconnected", "connection_connected"]
    lost = world.events[1]
    assert isinstance(lost, ConnectionDisconnectedEvent)
    assert (lost.code, lost.reason, lost.will_reconnect) == (1012, "the orchestrator restarts", True)
    assert [when for when, _ in world.tries] == [0, 101]


async def test_backoff_doubles_to_its_maximum_and_is_reported_once(
    world: World, autojump_clock: MockClock
) -> None:
    world.plans += [Plan(refusal=LinkLost(f"no {n}")) for n in range(8)]
    await world.watch(1000)
    assert [when for when, _ in world.tries] == [0, 1, 3, 7, 15, 31, 61, 91, 121]
    assert world.types == ["connection_error", "connection_connected"]
    error = world.events[0]
    assert isinstance(error, ConnectionErrorEvent)
    assert (error.error, error.will_reconnect) == ("no 0", True)
    assert world.statuses[-1].last_error is None


async def test_only_a_stable_connection_resets_the_backoff(world: World, autojump_clock: MockClock) -> None:
    """A server that closes soon is tried less and less often; after a minute of connection, at once."""
    world.plans += [Plan(lasts=1), Plan(lasts=1), Plan(lasts=59), Plan(lasts=60), Plan(lasts=1)]
    await world.watch(1000)
    pauses = [1, 2, 4, 1, 2]
    ends = [1, 1, 59, 60, 1]
    expected = [0.0]
    for lasted, pause in zip(ends, pauses, strict=True):
        expected.append(expected[-1] + lasted + pause)
    assert [when for when, _ in world.tries] == expected


async def test_another_outage_is_reported_again(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(refusal=LinkLost("first")), Plan(lasts=100), Plan(refusal=LinkLost("second")), Plan()]
    await world.watch(1000)
    assert [event.error for event in world.events if isinstance(event, ConnectionErrorEvent)] == [
        "first",
        "second",
    ]


async def test_tries_can_be_limited(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(refusal=LinkLost("no"))] * 20
    await world.watch(10_000, reconnect_attempts=10)
    assert len(world.tries) == 11
    assert world.types == ["connection_error", "connection_error"]
    assert [event.will_reconnect for event in world.events if isinstance(event, ConnectionErrorEvent)] == [
        True,
        False,
    ]
    assert world.states[-1] == "disconnected"
    assert world.statuses[-1].last_error == "no"
    assert isinstance(world.gave_up_for, LinkLost)


@pytest.mark.parametrize(
    ("refusal", "tries", "reported"),
    [
        (ProjectGone("gone"), 1, [False]),
        (LinkRefused("no", 401), 3, [False]),
        (LinkRefused("no", 403), 3, [False]),
        (LinkLost("no"), 4, [True, True, True, False]),
    ],
)
async def test_some_trouble_can_be_the_end_at_once(
    world: World, autojump_clock: MockClock, refusal: OrchestratorError, tries: int, reported: list[bool]
) -> None:
    """A library reports to its caller. A token is still renewed once before it counts as refused."""
    world.fatal, world.reports_every_try = frozenset({ConnectionTrouble.REFUSED, ConnectionTrouble.GONE}), True
    world.plans += [Plan(refusal=refusal)] * 20
    await world.watch(10_000, reconnect_attempts=3)
    assert world.gave_up_for is refusal
    assert len(world.tries) == tries
    assert [event.will_reconnect for event in world.errors] == reported
    assert world.states[-1] == "disconnected"


async def test_a_refused_login_can_be_the_end_at_once(world: World, autojump_clock: MockClock) -> None:
    world.fatal = frozenset({ConnectionTrouble.REFUSED})
    world.session_fails.append(AuthenticationFailed("wrong password", status=401))
    await world.watch(10_000)
    assert isinstance(world.gave_up_for, AuthenticationFailed)
    assert (world.tries, world.states) == ([], ["connecting", "disconnected"])


async def test_a_project_that_goes_while_connected_can_be_the_end_at_once(
    world: World, autojump_clock: MockClock
) -> None:
    world.fatal = frozenset({ConnectionTrouble.GONE})
    world.plans.append(Plan(lasts=100, end=ProjectGone("gone")))
    await world.watch(10_000)
    assert world.states == ["connecting", "connected", "disconnected"]
    assert not any(getattr(event, "will_reconnect", False) for event in world.events)


async def test_every_try_can_be_reported(world: World, autojump_clock: MockClock) -> None:
    world.reports_every_try = True
    world.plans += [Plan(lasts=100), *[Plan(refusal=LinkLost(f"no {n}")) for n in range(3)]]
    await world.watch(1000)
    assert [event.error for event in world.errors] == ["no 0", "no 1", "no 2"]
    assert world.types.count("connection_disconnected") == 1, "a lost connection is not reported as an error, too"


async def test_a_lost_link_without_another_try(world: World, autojump_clock: MockClock) -> None:
    world.plans += [Plan(lasts=1)]
    await world.watch(10_000, reconnect_attempts=0)
    assert world.types == ["connection_connected", "connection_disconnected", "connection_error"]
    assert not any(getattr(event, "will_reconnect", False) for event in world.events)


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
