"""The client against servers on loopback that answer correctly, badly, endlessly or not at all."""

import base64
import logging
import subprocess
import sys

import pytest

from aintandem_notify.http_client import HttpClient
from support.http_failures import SECRETS, failure_of, secret_url
from support.http_server import Answer, LoopbackServer, Raw, Reply, Reset


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
    await http.get(secret_url(server.port))
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


async def test_connections_are_used_again_and_closed_at_the_end(server: LoopbackServer) -> None:
    # However long the machine stalls between two.
    async with HttpClient(idle_expiry_s=3600.0) as http:
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


async def test_refused(server: LoopbackServer, http: HttpClient) -> None:
    await server.go_down()
    failure = await failure_of(http, secret_url(server.port))
    assert str(failure) == f"cannot connect to 127.0.0.1:{server.port}: Connection refused"
    assert not failure.maybe_sent


async def test_a_name_that_does_not_exist(http: HttpClient) -> None:
    failure = await failure_of(http, "http://no-such-host.invalid/pathcanary")
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
    failure = await failure_of(http, secret_url(server.port), json={"text": "bodycanary"})
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
    failure = await failure_of(http, url)
    assert str(failure) == "this is not a URL that can be used: http:// or https:// and a host are needed"
    assert not failure.maybe_sent


async def test_a_host_name_that_is_none(http: HttpClient) -> None:
    assert not (await failure_of(http, f"http://{'a' * 70}.example/")).maybe_sent


@pytest.mark.parametrize("value", ["headercanary\nX: y", "headercanary\0", "headercanaryä"])
async def test_a_header_that_cannot_be_sent(server: LoopbackServer, http: HttpClient, value: str) -> None:
    failure = await failure_of(http, server.base, headers={"X-Token": value})
    assert str(failure).startswith("the request cannot be sent: a header ")
    assert not failure.maybe_sent


async def test_nothing_of_a_request_is_logged(
    server: LoopbackServer, http: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await http.post(secret_url(server.port), json={"x": "bodycanary"}, headers={"X": "headercanary"})
        server.replies += [Reset(), Reset()]
        await failure_of(http, secret_url(server.port))
    assert not [secret for secret in SECRETS if secret in caplog.text]


def test_importing_the_client_imports_no_httpx() -> None:
    program = "import sys, aintandem_notify.api; sys.exit('httpx' in sys.modules or 'httpcore' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
