"""Requests through a proxy of the operator."""

import base64
import gc
from functools import partial

import pytest
import trio
import trio.lowlevel
import trio.testing

from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client import HttpClient
from support.http_failures import failure_of
from support.http_server import LoopbackServer, Reply, open_server
from support.nasty.configs import PROXIES, ProxyCase
from support.tls_server import TLS, port_of, tls_server


async def test_plain_http_goes_through_the_proxy(server: LoopbackServer) -> None:
    async with HttpClient(proxy=f"http://usercanary:passcanary@127.0.0.1:{server.port}") as http:
        assert (await http.get("http://hooks.example/x?y=1")).status == 200
    (request,) = server.requests
    assert request.path == "http://hooks.example/x?y=1"
    expected = base64.b64encode(b"usercanary:passcanary").decode()
    assert request.headers["proxy-authorization"] == f"Basic {expected}"


@pytest.mark.parametrize("case", PROXIES.values(), ids=PROXIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_proxy_hears_the_login_that_was_meant(
    server: LoopbackServer, case: ProxyCase, scheme: str
) -> None:
    server.respond = lambda _request: Reply(407)
    async with HttpClient(proxy=f"http://{case.userinfo}@127.0.0.1:{server.port}") as http:
        if scheme == "http":
            assert (await http.get("http://hooks.example/")).status == 407
        else:
            failure = await failure_of(http, "https://hooks.example/")
            assert str(failure) == "the proxy refused to connect to https://hooks.example (HTTP 407)"
    expected = base64.b64encode(f"{case.user}:{case.password}".encode()).decode()
    assert server.requests[0].headers["proxy-authorization"] == f"Basic {expected}"


async def test_hosts_in_no_proxy_are_reached_directly(server: LoopbackServer) -> None:
    async with open_server() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with HttpClient(proxy=url, no_proxy=[f"127.0.0.1:{server.port}"]) as http:
            await http.get(server.base)
            await http.get("http://hooks.example/")
            await http.get(server.base)
        assert [request.path for request in proxy.requests] == ["http://hooks.example/"]
    assert [request.path for request in server.requests] == ["/", "/"]


async def test_credentials_in_the_url_may_be_percent_encoded(server: LoopbackServer, http: HttpClient) -> None:
    await http.get(f"http://m%C3%BCller:a%40%23@127.0.0.1:{server.port}/")
    expected = base64.b64encode("müller:a@#".encode()).decode()
    assert server.requests[0].headers["authorization"] == f"Basic {expected}"


async def test_a_request_that_is_cancelled_while_it_is_sent_leaves_nothing_to_the_garbage_collector(
    http: HttpClient,
) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
        # More than the buffers of any system hold, and nobody reads.
        nursery.start_soon(partial(http.post, url, content=bytes(64 * 2**20)))
        async with await listener.accept() as stream:
            await trio.lowlevel.wait_readable(stream.socket)
            nursery.cancel_scope.cancel()
    gc.collect()


async def test_a_proxy_that_opens_no_way(server: LoopbackServer) -> None:
    server.replies.append(Reply(403))
    async with HttpClient(proxy=f"http://usercanary:passcanary@127.0.0.1:{server.port}") as http:
        failure = await failure_of(http, "https://hooks.example/pathcanary")
    assert server.requests[0].method == "CONNECT"
    assert str(failure) == "the proxy refused to connect to https://hooks.example (HTTP 403)"
    assert not failure.maybe_sent


async def test_tls_goes_through_the_proxy() -> None:
    async def tunnel(client: trio.SocketStream) -> None:
        await client.receive_some(65536)
        await client.send_all(b"HTTP/1.1 200 Open\r\n\r\n")
        async with await trio.open_tcp_stream("127.0.0.1", port) as target, trio.open_nursery() as both:
            both.start_soon(_copy, client, target)
            await _copy(target, client)
            both.cancel_scope.cancel()

    async with tls_server() as port, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, tunnel, [listener])
        proxy = f"http://127.0.0.1:{port_of(listener)}"
        async with HttpClient(proxy=proxy, ca_file=TLS / "ca.pem") as http:
            assert (await http.get("https://localhost/")).body == b"ok"
        nursery.cancel_scope.cancel()


async def _copy(source: trio.SocketStream, target: trio.SocketStream) -> None:
    async for piece in source:
        await target.send_all(piece)


@pytest.mark.parametrize("proxy", ["passcanary", "socks5://usercanary:passcanary@127.0.0.1:1", "http://"])
async def test_a_proxy_that_cannot_be_used(proxy: str) -> None:
    async with HttpClient(proxy=proxy) as http:
        failure = await failure_of(http, "http://127.0.0.1:1/")
    assert "should be a proxy's address that begins with http:// or https://" in str(failure)


async def test_a_proxy_at_a_metadata_address_is_refused() -> None:
    async with HttpClient(proxy="http://169.254.169.254:80") as http:
        with pytest.raises(HttpFailed, match="metadata"):
            await http.get("http://hooks.example/")
