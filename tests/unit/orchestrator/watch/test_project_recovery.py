"""A project whose link fails: backoff, reports, and the end of the tries."""

from collections import deque

import pytest
from trio.testing import MockClock

from aintandem_notify.domain.events import ConnectionDisconnectedEvent, ConnectionErrorEvent
from aintandem_notify.errors import (
    AuthenticationFailed,
    HttpFailed,
    LinkLost,
    LinkRefused,
    OrchestratorError,
    ProjectGone,
    ServerTrouble,
)
from aintandem_notify.orchestrator.link.reconnect_policy import ConnectionTrouble
from support.planned_links import Plan, World


@pytest.fixture
def world() -> World:
    return World()


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
