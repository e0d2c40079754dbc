"""The connection that is closed to make room for another."""

from typing import cast

import pytest
import trio
import trio.testing

from aintandem_notify.foundation.http_server.connections import (
    GRACE_S,
    ClientConnection,
    ConnectionLimiter,
    find_idlest,
    mark_authenticated,
)

NOW = 100.0


class Stream:
    """The stream of a connection, with a socket that records its close."""

    def __init__(self) -> None:
        self.socket = self
        self.closed = False

    def close(self) -> None:
        self.closed = True


def connection(*, waited: float = 1.0, known: bool = False, working: int = 0) -> ClientConnection:
    new = ClientConnection(cast("trio.SocketStream", Stream()))
    new.idle_since, new.is_authenticated, new.active_requests = NOW - waited, known, working
    return new


async def test_the_idlest_connection_is_closed_first() -> None:
    first, second = connection(waited=2), connection(waited=1)
    assert find_idlest([second, first], NOW) is first


async def test_authenticated_connections_are_closed_last() -> None:
    stranger, known = connection(waited=1), connection(waited=9, known=True)
    assert find_idlest([known, stranger], NOW) is stranger
    assert find_idlest([known], NOW) is known


async def test_a_request_with_the_token_is_not_cut_off_and_one_without_is() -> None:
    asking = connection(waited=9, known=True, working=1)
    assert find_idlest([asking], NOW) is None
    stranger = connection(working=1)
    assert find_idlest([asking, stranger], NOW) is stranger


async def test_a_connection_has_a_moment_to_itself() -> None:
    assert find_idlest([connection(waited=GRACE_S / 2)], NOW) is None
    assert find_idlest([connection(waited=GRACE_S)], NOW) is not None
    assert find_idlest([], NOW) is None


async def test_a_request_of_an_authenticated_connection_restarts_its_idle_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limiter = ConnectionLimiter(2, counts_busy=True)
    with limiter.register(cast("trio.SocketStream", Stream())) as stranger:
        with limiter.register(cast("trio.SocketStream", Stream())) as known:
            came = known.idle_since
            mark_authenticated({"aintandem_notify.connection": known})
            for client in (stranger, known):
                with limiter.request_in_progress(client):
                    assert client.active_requests == 1
                    await trio.sleep(5)
            assert stranger.idle_since == came
            assert known.idle_since == came + 10
        assert len(limiter) == 1
    assert len(limiter) == 0


async def test_room_is_made_once_somebody_has_had_a_moment(autojump_clock: trio.testing.MockClock) -> None:
    limiter, stream = ConnectionLimiter(1, counts_busy=True), Stream()
    with limiter.register(cast("trio.SocketStream", stream)):
        began = trio.current_time()
        await limiter.make_room()
        assert stream.closed
        assert trio.current_time() - began == pytest.approx(GRACE_S)
        assert len(limiter) == 0


async def test_room_is_there_once_a_request_with_the_token_is_over(autojump_clock: trio.testing.MockClock) -> None:
    limiter, stream = ConnectionLimiter(1, counts_busy=True), Stream()
    with limiter.register(cast("trio.SocketStream", stream)) as busy:
        mark_authenticated({"aintandem_notify.connection": busy})

        async def send_request() -> None:
            with limiter.request_in_progress(busy):
                await trio.sleep(60)
                assert not stream.closed

        async with trio.open_nursery() as nursery:
            await nursery.start(_begun, send_request)
            await limiter.make_room()
    assert trio.current_time() >= 60


async def test_those_with_a_token_take_no_room_where_they_may_be_many() -> None:
    few, many = ConnectionLimiter(1, counts_busy=True), ConnectionLimiter(1, counts_busy=False)
    for limiter, count in ((few, 1), (many, 0)):
        with limiter.register(cast("trio.SocketStream", Stream())) as client:
            mark_authenticated({"aintandem_notify.connection": client})
            assert len(limiter) == 1
            with limiter.request_in_progress(client):
                assert len(limiter) == count


async def _begun(work: object, *, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await work()  # type: ignore[operator]


def test_an_application_without_a_server_has_no_guests() -> None:
    mark_authenticated({})
