"""The client against servers on loopback that answer correctly, badly, endlessly or not at all."""

import base64
import gc
import logging
import ssl
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from aintandem_notify.errors import HttpFailed
from aintandem_notify.foundation.open_files import MAX_HTTP_CONNECTIONS
from aintandem_notify.http_client import MAX_BODY, HttpClient, pools, transport
from support.http_server import (
    Answer,
    Drip,
    Endless,
    LoopbackServer,
    Raw,
    Reply,
    Reset,
    Silence,
    gzip_bomb,
    open_server,
)
from support.nasty.configs import PROXIES, ProxyCase
from support.nasty.wire import Then, WireAnswer, zipped

TLS = Path(__file__).parents[2] / "support" / "tls"
SECRETS = ("usercanary", "passcanary", "pathcanary", "querycanary", "headercanary", "bodycanary")
CLOSES = {"connection": "close"}


def _secret_url(port: int, scheme: str = "http") -> str:
    return f"{scheme}://usercanary:passcanary@127.0.0.1:{port}/pathcanary?token=querycanary"


async def _failure(http: HttpClient, url: str, **options: Any) -> HttpFailed:
    with pytest.raises(HttpFailed) as caught:
        await http.post(url, **options)
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not [secret for secret in SECRETS if secret in text]
    return caught.value


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with open_server() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as http:
        yield http


async def test_an_answer(server: LoopbackServer, http: HttpClient) -> None:
    server.replies.append(Reply(201, b"made", {"X-One": "1", "set-cookie": "a=b"}))
    answer = await http.post(server.base + "/x?y=1", json={"text": "ä"}, headers={"X-Two": "2"})
    assert (answer.status, answer.body, answer.truncated) == (201, b"made", False)
    assert answer.headers["x-one"] == "1"
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/x?y=1", '{"text": "ä"}'.encode())
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["x-two"] == "2"


async def test_the_bytes_of_content_are_sent_as_they_are(server: LoopbackServer, http: HttpClient) -> None:
    body = b'{"a" :1}\n'
    await http.request("PUT", server.base, content=body, headers={"Content-Type": "application/json"})
    assert server.requests[0].body == body
    assert server.requests[0].headers["content-type"] == "application/json"


async def test_a_lone_surrogate_does_not_keep_json_back(server: LoopbackServer, http: HttpClient) -> None:
    await http.post(server.base, json={"text": "a\ud800b"})
    assert server.requests[0].body == b'{"text": "a?b"}'


@pytest.mark.parametrize("value", [float("nan"), {"a": {1, 2}}])
async def test_a_value_that_json_cannot_encode_is_the_callers_mistake(http: HttpClient, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        await http.post("http://127.0.0.1:9/", json=value)


async def test_no_content_encoding_is_requested(server: LoopbackServer, http: HttpClient) -> None:
    await http.get(server.base, headers={"Accept-Encoding": "gzip"})
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert server.requests[0].headers["user-agent"].startswith("aintandem-notify/")


async def test_credentials_in_the_url_are_basic_authentication(server: LoopbackServer, http: HttpClient) -> None:
    await http.get(_secret_url(server.port))
    expected = base64.b64encode(b"usercanary:passcanary").decode()
    assert server.requests[0].headers["authorization"] == f"Basic {expected}"


async def test_no_cookie_is_kept(server: LoopbackServer, http: HttpClient) -> None:
    server.replies.append(Reply(200, b"", {"set-cookie": "session=1; Path=/"}))
    await http.get(server.base)
    await http.get(server.base)
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(server: LoopbackServer, http: HttpClient, status: int) -> None:
    server.replies.append(Reply(status, b"", {"location": "http://169.254.169.254/latest/meta-data/"}))
    assert (await http.post(server.base, json={})).status == status
    assert len(server.requests) == 1


async def test_the_environment_names_no_proxy(
    server: LoopbackServer, http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await http.get(server.base)).status == 200


async def test_connections_are_used_again_and_closed_at_the_end(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "IDLE_EXPIRY_S", 3600.0)  # however long the machine stalls between two
    async with HttpClient() as http:
        for _ in range(3):
            await http.get(server.base)
        assert server.connections == 1
    await server.wait_until(lambda: server.connections == 0)


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(
    server: LoopbackServer, http: HttpClient
) -> None:
    await http.get(server.base)
    await server.go_down()
    await server.come_up()
    assert (await http.get(server.base)).status == 200


async def test_outside_of_its_block_the_client_is_closed() -> None:
    with pytest.raises(RuntimeError):
        await HttpClient().get("http://127.0.0.1/")


# Limits of the body


@pytest.mark.parametrize("size", [0, 1, 99, 100])
async def test_a_body_within_the_limit_is_complete(server: LoopbackServer, http: HttpClient, size: int) -> None:
    server.replies.append(Reply(200, b"x" * size))
    answer = await http.get(server.base, max_body=100)
    assert (len(answer.body), answer.truncated) == (size, False)


@pytest.mark.parametrize("size", [101, 5000, 200_000])
async def test_a_longer_body_is_cut(server: LoopbackServer, http: HttpClient, size: int) -> None:
    server.replies.append(Reply(200, b"x" * size))
    answer = await http.get(server.base, max_body=100)
    assert (answer.body, answer.truncated) == (b"x" * 100, True)
    assert (await http.get(server.base)).status == 200


@pytest.mark.parametrize("size", [101, 200_000])
async def test_cut_bodies_use_no_connection_up(server: LoopbackServer, http: HttpClient, size: int) -> None:
    for _ in range(MAX_HTTP_CONNECTIONS + 1):
        server.replies.append(Reply(200, b"x" * size))
        await http.get(server.base, max_body=100)
    await server.wait_until(lambda: server.connections <= 1)


async def test_a_gigabyte_is_not_read(server: LoopbackServer, http: HttpClient) -> None:
    server.replies.append(Endless())
    answer = await http.get(server.base)
    assert (len(answer.body), answer.truncated) == (MAX_BODY, True)
    await server.wait_until(lambda: server.connections == 0)
    assert server.bytes_sent < 50_000_000


async def test_a_gzip_bomb_is_unpacked_to_the_limit(server: LoopbackServer, http: HttpClient) -> None:
    server.replies.append(gzip_bomb())
    answer = await http.get(server.base)
    assert (len(answer.body), answer.truncated) == (MAX_BODY, True)
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("split", [1, 2, 1000])
@pytest.mark.parametrize(
    "text",
    [
        b"ok",
        b"1",
        b"channel_is_archived",
        b'{"id":12}',
        b'{"ok":false,"error":"channel_not_found"}',
        b"<html><title>Log in</title></html>",
        "Übergabe an das Gerät".encode(),
    ],
)
async def test_text_that_is_only_called_deflated_stays_as_it_came(
    server: LoopbackServer, http: HttpClient, text: bytes, split: int
) -> None:
    """In small pieces, too; deflated data have no sum, and many a text begins as they could."""
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\ncontent-length: %d\r\n\r\n" % len(text)
    pieces = (text[at : at + split] for at in range(0, len(text), split))
    server.replies.append(WireAnswer((head, *pieces), Then.KEEP))
    answer = await http.get(server.base)
    assert (answer.body, answer.truncated) == (text, False)


async def test_compressed_data_that_unpack_to_nothing_end_some_time(
    server: LoopbackServer, http: HttpClient
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\n\r\n"
    empty_blocks = b"\0\0\0\xff\xff" * 1000
    server.replies.append(WireAnswer((head, empty_blocks), Then.GO_ON))
    answer = await http.get(server.base, timeout=60)
    assert (answer.body, answer.truncated) == (b"", True)
    await server.wait_until(lambda: server.connections == 0)


@pytest.mark.parametrize("size", [100, 101, 5000])
async def test_the_limit_counts_unpacked_bytes(server: LoopbackServer, http: HttpClient, size: int) -> None:
    server.replies.append(zipped(b"x" * size))
    answer = await http.get(server.base, max_body=100)
    assert (answer.body, answer.truncated) == (b"x" * 100, size > 100)


# No answer


async def test_refused(server: LoopbackServer, http: HttpClient) -> None:
    await server.go_down()
    failure = await _failure(http, _secret_url(server.port))
    assert str(failure) == f"cannot connect to 127.0.0.1:{server.port}: Connection refused"
    assert not failure.maybe_sent


async def test_a_name_that_does_not_exist(http: HttpClient) -> None:
    failure = await _failure(http, "http://no-such-host.invalid/pathcanary")
    assert str(failure).startswith("cannot find the address of no-such-host.invalid: ")
    assert not failure.maybe_sent


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Reset(), "closed the connection without an answer"),
        (Reset(b"HTTP/1.1 20"), "closed the connection without an answer"),
        (Raw(b""), "closed the connection without an answer"),
        (Raw(b"\x16\x03\x01 this is no HTTP\r\n\r\n"), "answered with something that is not HTTP"),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), "answered with something that is not HTTP"),
        (Raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000), "answered with more than 100 KB of headers"),
        (
            Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
            "closed the connection in the middle of its answer",
        ),
        (
            Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok"),
            "closed the connection in the middle of its answer",
        ),
    ],
)
async def test_no_or_half_an_answer_may_have_been_sent(
    server: LoopbackServer, http: HttpClient, answer: Answer, sentence: str
) -> None:
    server.replies.append(answer)
    failure = await _failure(http, _secret_url(server.port), json={"text": "bodycanary"})
    assert str(failure) == f"{server.base} {sentence}"
    assert failure.maybe_sent


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pathcanary",
        "//host/pathcanary",
        "ftp://host/pathcanary",
        "http://",
        "http:///pathcanary",
        "http://host:pathcanary/",
        "http://host:99999999/",
        "http://[::1/pathcanary",
        "http://ho st/pathcanary\n",
        "http://0251.0376.0251.0376/pathcanary",
        "file:///etc/passwd",
    ],
)
async def test_invalid_urls(http: HttpClient, url: str) -> None:
    failure = await _failure(http, url)
    assert str(failure) == "this is not a URL that can be used: http:// or https:// and a host are needed"
    assert not failure.maybe_sent


async def test_a_host_name_that_is_none(http: HttpClient) -> None:
    assert not (await _failure(http, f"http://{'a' * 70}.example/")).maybe_sent


@pytest.mark.parametrize("value", ["headercanary\nX: y", "headercanary\0", "headercanaryä"])
async def test_a_header_that_cannot_be_sent(server: LoopbackServer, http: HttpClient, value: str) -> None:
    failure = await _failure(http, server.base, headers={"X-Token": value})
    assert str(failure).startswith("the request cannot be sent: a header ")
    assert not failure.maybe_sent


# Deadlines: time stands still until the test advances it


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
        failures.append(await _failure(http, url, timeout=5.0))

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
    failure = await _fail_late(http, _secret_url(server.port), mock_clock, server)
    assert str(failure) == f"{server.base} did not answer within 5 s"
    assert failure.maybe_sent
    await server.wait_until(lambda: server.connections == 0)


async def test_a_server_that_drips(
    server: LoopbackServer, http: HttpClient, mock_clock: trio.testing.MockClock, answered: trio.Event
) -> None:
    server.replies.append(Drip())
    failure = await _fail_late(http, _secret_url(server.port), mock_clock, answered)
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
        port = _port(listener)
        failure = await _fail_late(http, _secret_url(port, "https"), mock_clock, greeted)
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


# TLS


@asynccontextmanager
async def _tls_server() -> AsyncIterator[int]:
    """The port of a server that says ``ok`` over TLS to one request a connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem")

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            async with stream:
                await stream.receive_some(65536)
                await stream.send_all(Reply(200, b"ok", CLOSES).encode())
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        (listening,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener = trio.SSLListener(listening, context, https_compatible=True)
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield _port(listening)
        nursery.cancel_scope.cancel()


def _port(listener: trio.SocketListener) -> int:
    number: int = listener.socket.getsockname()[1]
    return number


async def test_an_authority_of_the_operator_is_trusted() -> None:
    async with _tls_server() as port, HttpClient(ca_file=TLS / "ca.pem") as http:
        assert (await http.get(f"https://127.0.0.1:{port}/")).body == b"ok"


async def test_an_untrusted_certificate_is_refused(http: HttpClient) -> None:
    async with _tls_server() as port:
        failure = await _failure(http, _secret_url(port, "https"))
    assert str(failure).startswith(f"TLS with https://127.0.0.1:{port} failed: certificate verify failed: ")
    assert not failure.maybe_sent


async def test_tls_with_a_server_that_speaks_none(server: LoopbackServer, http: HttpClient) -> None:
    failure = await _failure(http, _secret_url(server.port, "https"))
    assert str(failure).startswith(f"TLS with https://127.0.0.1:{server.port} failed: ")
    assert not failure.maybe_sent


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), ("no PEM", "no PEM certificate")])
async def test_a_ca_file_that_cannot_be_used(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    async with HttpClient(ca_file=file) as http:
        failure = await _failure(http, "https://127.0.0.1:1/pathcanary")
    assert str(failure).startswith(f"cannot use the CA file {file}: ")
    assert reason in str(failure)
    assert not failure.maybe_sent


# Proxies


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
            failure = await _failure(http, "https://hooks.example/")
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
        failure = await _failure(http, "https://hooks.example/pathcanary")
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

    async with _tls_server() as port, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, tunnel, [listener])
        proxy = f"http://127.0.0.1:{_port(listener)}"
        async with HttpClient(proxy=proxy, ca_file=TLS / "ca.pem") as http:
            assert (await http.get("https://localhost/")).body == b"ok"
        nursery.cancel_scope.cancel()


async def _copy(source: trio.SocketStream, target: trio.SocketStream) -> None:
    async for piece in source:
        await target.send_all(piece)


@pytest.mark.parametrize("proxy", ["passcanary", "socks5://usercanary:passcanary@127.0.0.1:1", "http://"])
async def test_a_proxy_that_cannot_be_used(proxy: str) -> None:
    async with HttpClient(proxy=proxy) as http:
        failure = await _failure(http, "http://127.0.0.1:1/")
    assert "should be a proxy's address that begins with http:// or https://" in str(failure)


async def test_a_proxy_at_a_metadata_address_is_refused() -> None:
    async with HttpClient(proxy="http://169.254.169.254:80") as http:
        with pytest.raises(HttpFailed, match="metadata"):
            await http.get("http://hooks.example/")


# Silence


async def test_nothing_of_a_request_is_logged(
    server: LoopbackServer, http: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await http.post(_secret_url(server.port), json={"x": "bodycanary"}, headers={"X": "headercanary"})
        server.replies += [Reset(), Reset()]
        await _failure(http, _secret_url(server.port))
    assert not [secret for secret in SECRETS if secret in caplog.text]


def test_importing_the_client_imports_no_httpx() -> None:
    program = "import sys, aintandem_notify.api; sys.exit('httpx' in sys.modules or 'httpcore' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_a_body_is_not_left_to_the_garbage_collector(http: HttpClient, server: LoopbackServer) -> None:
    server.replies += [Reply(200, b"x" * 1_000_000), Reply(200, b"x" * 1_000_000)]
    gc.disable()
    try:
        assert len((await http.get(server.base, max_body=2_000_000)).body) == 1_000_000
        assert (await http.get(server.base, max_body=500_000)).truncated
        assert not [item for item in gc.get_objects() if isinstance(item, transport.Exchange) and item.body]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("size", "reserved"), [(transport.SMALL_BODY_BYTES, []), (transport.SMALL_BODY_BYTES + 1, [2**18 + 1])]
)
async def test_room_is_called_once_and_only_for_a_large_body(
    size: int, reserved: list[int], http: HttpClient, server: LoopbackServer
) -> None:
    sizes: list[int] = []

    async def room(byte_count: int) -> None:
        sizes.append(byte_count)
        await trio.lowlevel.checkpoint()

    server.replies.append(Reply(200, b"x" * size))
    assert len((await http.get(server.base, max_body=2**20, room=room)).body) == size
    assert sizes == reserved


async def test_room_is_called_for_all_that_a_compressed_body_may_have(
    http: HttpClient, server: LoopbackServer
) -> None:
    sizes: list[int] = []

    async def room(byte_count: int) -> None:
        sizes.append(byte_count)
        await trio.lowlevel.checkpoint()

    server.replies.append(zipped(b"x" * (transport.SMALL_BODY_BYTES + 1)))
    answer = await http.get(server.base, max_body=2**20, room=room)
    assert len(answer.body) == transport.SMALL_BODY_BYTES + 1
    assert sizes == [2**20]


async def test_the_time_of_a_request_stands_still_while_it_waits_for_room(
    http: HttpClient, server: LoopbackServer
) -> None:
    async def room(_: int) -> None:
        assert trio.current_effective_deadline() > trio.current_time() + 3600

    server.replies.append(Reply(200, b"x" * 2**20))
    with trio.CancelScope():
        assert len((await http.get(server.base, max_body=2**20, timeout=60, room=room)).body) == 2**20


@pytest.mark.parametrize("waits", [True, False])
async def test_a_cancelled_request_leaves_nothing_to_the_garbage_collector(
    waits: bool, http: HttpClient, server: LoopbackServer
) -> None:
    async def room(_: int) -> None:
        scope.cancel()
        if waits:
            await trio.sleep_forever()

    server.replies.append(Reply(200, b"x" * 2**22))
    with trio.CancelScope() as scope:
        await http.get(server.base, max_body=2**23, room=room)
    assert scope.cancelled_caught
    # If a generator of the libraries were left to the garbage collector, trio would warn here.
    gc.collect()
    await trio.testing.wait_all_tasks_blocked()
