"""Connections for reuse: one for each request that runs at a time, counted over the clients of a family."""

from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from aintandem_notify.http_client import HttpClient
from aintandem_notify.http_client.backend import _is_one_plain_answer
from support.http_server import Held, LoopbackServer, Reply, open_server

LONG_S = 3600.0
"""Idle connections are kept however long the machine stalls."""


async def get_together(http: HttpClient, server: LoopbackServer, count: int) -> None:
    """Makes ``count`` requests, none of which is answered before all have arrived."""
    until = trio.Event()
    server.replies.extend(Held(until=until, reply=Reply(204)) for _ in range(count))
    before = len(server.requests)
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(http.get, server.base)
        await server.wait_for_requests(before + count)
        until.set()


async def wait_for_connections(server: LoopbackServer, count: int) -> None:
    await server.wait_until(lambda: server.connections == count)


async def test_each_of_many_requests_at_a_time_has_a_connection_that_is_used_again() -> None:
    async with open_server() as server, HttpClient(idle_expiry_s=LONG_S) as http:
        await get_together(http, server, 32)
        assert server.connections == 32
        await get_together(http, server, 32)
        await get_together(http, server, 3)
        assert server.connections == 32


async def test_a_client_closes_the_idle_connection_of_another_if_there_are_too_many() -> None:
    async with open_server() as server, AsyncExitStack() as stack:
        http = await stack.enter_async_context(HttpClient(connections=2, idle_expiry_s=LONG_S))
        first, second = [await stack.enter_async_context(http.own_pool()) for _ in range(2)]
        await get_together(first, server, 2)
        for client in (second, first, http, second):
            assert (await client.get(server.base)).status == 200
            await wait_for_connections(server, 2)
        await get_together(second, server, 2)
        await wait_for_connections(server, 2)


async def test_a_request_that_waits_for_a_connection_gets_one_when_another_client_is_done() -> None:
    async with (
        open_server() as server,
        HttpClient(connections=1, idle_expiry_s=LONG_S) as http,
        http.own_pool() as other,
    ):
        until = trio.Event()
        server.replies.append(Held(until=until, reply=Reply(204)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(http.get, server.base)
            await server.wait_for_requests(1)
            nursery.start_soon(other.get, server.base)
            await trio.testing.wait_all_tasks_blocked()
            assert len(server.requests) == 1
            until.set()
        assert len(server.requests) == 2


async def test_connections_that_nobody_uses_are_closed_without_another_request() -> None:
    async with open_server() as server, HttpClient(idle_expiry_s=0.01) as http, http.own_pool() as own:
        for _ in range(2):
            await get_together(own, server, 5)
            await wait_for_connections(server, 0)


async def test_connections_expire_while_others_are_taken_and_given_back() -> None:
    statuses: list[int] = []

    async def get_again_and_again(http: HttpClient) -> None:
        statuses.extend([(await http.get(server.base)).status for _ in range(50)])

    async with open_server() as server, HttpClient(idle_expiry_s=0.0) as http, http.own_pool() as own:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(get_again_and_again, own)
        await wait_for_connections(server, 0)
    assert statuses == [200] * 400


async def test_the_end_of_a_client_closes_its_connections_only() -> None:
    async with open_server() as server, HttpClient(idle_expiry_s=LONG_S) as http:
        await http.get(server.base)
        async with http.own_pool() as own:
            await get_together(own, server, 3)
            assert server.connections == 4
        await wait_for_connections(server, 1)
        await http.get(server.base)
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "is_plain"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\nmore", False),
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length:2 \r\nx: y\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Content-Length: 7\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", False),
        (b"", False),
    ],
)
def test_only_a_certain_end_of_an_answer_saves_its_parsing(answer: bytes, is_plain: bool) -> None:
    assert _is_one_plain_answer(answer, len(answer)) is is_plain


def test_an_answer_that_is_longer_than_its_beginning_is_parsed() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert not _is_one_plain_answer(answer, len(answer) + 1)
