"""Deadlines and cancellation of a request. Time stands still until a test advances it."""

import gc
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client import HttpClient, transport
from support.http_failures import failure_of, secret_url
from support.http_server import Drip, LoopbackServer, Raw, Silence
from support.tls_server import port_of


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """Set once the client has read the head of an answer, which may arrive long after it was sent."""
    has_begun, read_body = trio.Event(), transport._read_body

    async def read(*of_an_answer: Any) -> None:
        has_begun.set()
        await read_body(*of_an_answer)

    monkeypatch.setattr(transport, "_read_body", read)
    return has_begun


async def _fail_late(
    http: HttpClient, url: str, clock: trio.testing.MockClock, ready: trio.Event | LoopbackServer
) -> HttpFailed:
    failures: list[HttpFailed] = []

    async def send() -> None:
        failures.append(await failure_of(http, url, timeout=5.0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await (ready.wait() if isinstance(ready, trio.Event) else ready.wait_for_requests(1))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not failures
        clock.jump(5.0)
    return failures[0]


async def test_a_server_that_never_answers(
    server: LoopbackServer, http: HttpClient, mock_clock: trio.testing.MockClock
) -> None:
    server.replies.append(Silence())
    failure = await _fail_late(http, secret_url(server.port), mock_clock, server)
    assert str(failure) == f"{server.base} did not answer within 5 s"
    assert failure.maybe_sent
    await server.wait_until(lambda: server.connections == 0)


async def test_a_server_that_drips(
    server: LoopbackServer, http: HttpClient, mock_clock: trio.testing.MockClock, answered: trio.Event
) -> None:
    server.replies.append(Drip())
    failure = await _fail_late(http, secret_url(server.port), mock_clock, answered)
    assert str(failure) == f"the answer of {server.base} did not end within 5 s"
    assert failure.maybe_sent
    await server.wait_until(lambda: server.connections == 0)


async def test_a_handshake_that_never_ends(http: HttpClient, mock_clock: trio.testing.MockClock) -> None:
    greeted = trio.Event()

    async def swallow(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            greeted.set()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, swallow, [listener])
        port = port_of(listener)
        failure = await _fail_late(http, secret_url(port, "https"), mock_clock, greeted)
        nursery.cancel_scope.cancel()
    assert str(failure) == f"no connection to https://127.0.0.1:{port} within 5 s"
    assert not failure.maybe_sent
    gc.collect()  # a socket that was not closed warns here


@pytest.mark.parametrize("answer", [Drip(202), Drip(202, b"")])
async def test_a_status_can_be_answer_enough_at_the_deadline(
    server: LoopbackServer,
    http: HttpClient,
    mock_clock: trio.testing.MockClock,
    answered: trio.Event,
    answer: Drip,
) -> None:
    server.replies.append(answer)
    statuses = []

    async def send() -> None:
        late = await http.post(server.base, timeout=5.0, need_body=False)
        statuses.append((late.status, late.body, late.truncated))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await answered.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(5.0)
    assert statuses == [(202, answer.start, True)]


async def test_a_status_can_be_answer_enough_without_the_rest(server: LoopbackServer, http: HttpClient) -> None:
    server.replies.append(Raw(b"HTTP/1.1 202 OK\r\nContent-Length: 9\r\n\r\nok"))
    answer = await http.post(server.base, need_body=False)
    assert (answer.status, answer.body, answer.truncated) == (202, b"ok", True)


async def test_cancelling_leaves_no_connection(server: LoopbackServer, http: HttpClient) -> None:
    server.replies.append(Silence())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(http.get, server.base)
        await server.wait_for_requests(1)
        nursery.cancel_scope.cancel()
    await server.wait_until(lambda: server.connections == 0)
