"""Streams to an orchestrator: plain, over TLS, through a proxy, and the errors of each."""

import base64
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from aintandem_notify.config import Outbound
from aintandem_notify.errors import ConfigError, LinkLost
from aintandem_notify.http_client import addresses
from aintandem_notify.orchestrator.link.dial import MAX_PROXY_RESPONSE_BYTES, client_context, open_stream
from aintandem_notify.orchestrator.protocol.address import Endpoint
from support.tls_server import TLS

CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@cache
def trusting() -> ssl.SSLContext:
    return client_context(TLS / "ca.pem")


@cache
def strangers() -> ssl.SSLContext:
    return client_context(None)


def plain(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port, tls=False)


def secured(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port, tls=True)


async def echo(stream: trio.abc.Stream) -> None:
    async for content in stream:
        await stream.send_all(content)


Handler = Callable[[trio.abc.Stream], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, *, tls: bool = False) -> AsyncIterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "server.pem")

    async def serve(stream: trio.SocketStream) -> None:
        try:
            await handler(
                trio.SSLStream(stream, context, server_side=True, https_compatible=True) if tls else stream
            )
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client has gone
        finally:
            await trio.aclose_forcefully(stream)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class Proxy:
    """Accepts CONNECT and sends ``answer``. If that is 2xx, it passes everything on to ``port``."""

    def __init__(self, port: int, answer: bytes = CONNECTED) -> None:
        self.port = port
        self.answer = answer
        self.request = b""

    async def serve(self, client: trio.abc.Stream) -> None:
        while b"\r\n\r\n" not in self.request:
            self.request += await client.receive_some()
        await client.send_all(self.answer)
        if self.answer is not CONNECTED:
            return
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as server, trio.open_nursery() as nursery:
            nursery.start_soon(_pass_on, client, server, nursery.cancel_scope)
            nursery.start_soon(_pass_on, server, client, nursery.cancel_scope)


async def _pass_on(source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
    async for content in source:
        await sink.send_all(content)
    scope.cancel()


async def assert_echo(endpoint: Endpoint, proxy: str | None = None) -> None:
    async with await open_stream(endpoint, tls=trusting, outbound=Outbound.parse(proxy)) as stream:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"


async def failure(
    endpoint: Endpoint, proxy: str | None = None, tls: Callable[[], ssl.SSLContext] = trusting
) -> str:
    with pytest.raises(LinkLost) as lost:
        async with await open_stream(endpoint, tls=tls, outbound=Outbound.parse(proxy)):
            pytest.fail("connected")
    return str(lost.value)


async def test_plain() -> None:
    async with serving(echo) as port:
        await assert_echo(plain(port))


async def test_tls_with_an_authority_of_ones_own() -> None:
    async with serving(echo, tls=True) as port:
        await assert_echo(secured(port))


async def test_tls_with_a_stranger() -> None:
    async with serving(echo, tls=True) as port:
        words = await failure(secured(port), tls=strangers)
        assert words.startswith(f"no TLS with 127.0.0.1:{port}: ")
        assert "certificate" in words


async def test_tls_where_there_is_none() -> None:
    async with serving(echo) as port:
        assert (await failure(secured(port))).startswith(f"no TLS with 127.0.0.1:{port}: ")


async def test_a_context_is_made_only_for_tls() -> None:
    def context() -> ssl.SSLContext:
        pytest.fail("made")

    async with serving(echo) as port, await open_stream(plain(port), tls=context) as stream:
        await stream.send_all(b"x")


async def test_no_such_name() -> None:
    words = await failure(Endpoint("no-such-name.invalid", 80, tls=False))
    assert words.startswith("cannot find the address of no-such-name.invalid: ")


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".invalid"])
async def test_invalid_host_names(host: str) -> None:
    assert await failure(Endpoint(host, 80, tls=False)) == f"cannot find the address of {host}: not a host name"


@pytest.mark.parametrize("tls", [False, True])
async def test_through_a_proxy(tls: bool) -> None:
    async with serving(echo, tls=tls) as port:
        proxy = Proxy(port)
        async with serving(proxy.serve) as proxy_port:
            await assert_echo(
                Endpoint("localhost", port, tls), f"http://m%C3%BCller:p%40%23%2F%3A@127.0.0.1:{proxy_port}"
            )
    lines = proxy.request.decode().split("\r\n")
    assert lines[0] == f"CONNECT localhost:{port} HTTP/1.1"
    assert lines[1] == f"Host: localhost:{port}"
    assert lines[2] == f"Proxy-Authorization: Basic {base64.b64encode('müller:p@#/:'.encode()).decode()}"


async def test_hosts_in_no_proxy_are_reached_directly() -> None:
    async with serving(echo) as port:
        outbound = Outbound.parse("http://127.0.0.1:1", ["127.0.0.0/8"])
        async with await open_stream(plain(port), tls=trusting, outbound=outbound) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"


@pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:6464:64c8", "fd00:ec2::254", "fe80::1%1"])
async def test_no_metadata_service_is_dialled(host: str) -> None:
    words = await failure(Endpoint(host, 1, tls=False))
    assert words.startswith(f"{host} leads to ")
    assert "allow_addresses" in words


async def test_addresses_that_the_operator_allows_are_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_KINDS", ((ip_network("127.0.0.0/8"), "an address for this test"),))
    async with serving(echo) as port:
        assert "leads to an address for this test" in await failure(plain(port))
        outbound = Outbound.parse(allow_addresses=["127.0.0.1"])
        async with await open_stream(plain(port), tls=trusting, outbound=outbound) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"


async def test_through_a_proxy_that_speaks_tls_itself() -> None:
    async with serving(echo, tls=True) as port:
        proxy = Proxy(port)
        async with serving(proxy.serve, tls=True) as proxy_port:
            await assert_echo(secured(port), f"https://127.0.0.1:{proxy_port}")
    assert b"Proxy-Authorization" not in proxy.request


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy refused to connect us (HTTP 407)"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy refused to connect us (HTTP 502)"),
        (b"SSH-2.0-x\r\n\r\n", "the proxy does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "the proxy gave no whole answer"),
        (b"", "the proxy gave no whole answer"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MAX_PROXY_RESPONSE_BYTES + 1), "the proxy gave no whole answer"),
    ],
)
async def test_a_proxy_that_does_not_connect_us(answer: bytes, words: str) -> None:
    proxy = Proxy(1, answer)
    async with serving(proxy.serve) as port:
        assert await failure(plain(1), f"http://user:canary@127.0.0.1:{port}") == words


async def test_no_proxy_there() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen; a free port somebody else might take
        port = bound.getsockname()[1]
        assert await failure(plain(1), f"http://user:canary@127.0.0.1:{port}") == (
            f"cannot connect to 127.0.0.1:{port}: Connection refused"
        )


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_of_no_use(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"connection\.ca_file: cannot use .*ca\.pem"):
        client_context(file)
