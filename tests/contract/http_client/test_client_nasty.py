"""A nasty server leads to an answer, or to HttpFailed without a secret in its text. The client goes on."""

import ssl
import traceback
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpcore
import httpx
import pytest
import trio

from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client import HttpAnswer, HttpClient
from support.http_server import Answer, Held, Received, Reply, open_server
from support.nasty import orchestrator_http, receivers_http
from support.nasty.wire import Then, WireAnswer
from support.tls_server import TLS

ANSWERS = {
    **orchestrator_http.ANSWERS,
    **orchestrator_http.UPGRADES,
    **receivers_http.ANSWERS,
    **receivers_http.SLACK,
}
NO_ANSWERS = {
    "a status line of nonsense": b"HTTP/1.1 two hundred\r\n\r\n",
    "a status of 099": b"HTTP/1.1 099 x\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 x\r\n\r\n",
    "a status below zero": b"HTTP/1.1 -20 x\r\n\r\n",
    "a length of 400 digits": b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 400 + b"\r\n\r\nok",
    "a negative chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\nok\r\n",
    "a chunk of 100 digits": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 100 + b"\r\n",
    "an unknown transfer encoding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: klingon\r\n\r\nok",
    "two transfer encodings": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n" * 2 + b"\r\nok",
    "trailers of nonsense": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nnonsense\r\n\r\n",
    "http/3": b"HTTP/3 200 OK\r\n\r\n",
    "a header that begins with a colon": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    "NUL everywhere": b"\0" * 1000,
}
ODD_HEADERS = {
    "set-cookie of nonsense": b"set-cookie: =;;=\xff; expires=never; domain=..; path\r\n",
    "a content type of nonsense": b"content-type: ;;;charset=\xff\r\n",
    "an unknown charset": b"content-type: text/plain; charset=idna\r\n",
    "latin-1": b"x: \xe4\xff\r\n",
    "a link of nonsense": b"link: <http://[>; rel=next\r\n",
    "a location at 0": b"location: //:0\r\n",
    "an empty location": b"location:\r\n",
    "two locations": b"location: a\r\nlocation: about:blank\r\n",
    "a broken authentication": b'www-authenticate: Basic realm="\r\n',
    "a refresh": b"refresh: 0; url=about:blank\r\n",
}


async def outcome(http: HttpClient, url: str, **options: Any) -> HttpAnswer | HttpFailed:
    try:
        return await http.post(url, json={"text": "x"}, **options)
    except HttpFailed as error:
        failure = error
    text = "".join(traceback.format_exception(failure)) + repr(failure)
    assert "canary" not in text
    assert str(failure).isprintable()
    return failure


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_or_our_error(answer: WireAnswer) -> None:
    async with open_server() as server, HttpClient() as http:
        server.respond = lambda _request: answer
        url = f"http://usercanary:passcanary@127.0.0.1:{server.port}/pathcanary"
        # An answer that goes on for ever, or stops, is ended by the deadline; no other limit is near it.
        waits = answer.then in (Then.SILENCE, Then.GO_ON)
        await outcome(http, url, timeout=0.5 if waits else 60.0)
        server.respond = lambda _request: Reply(200, b"well")
        assert (await http.get(server.base)).body == b"well"


@pytest.mark.parametrize("packed", receivers_http.PACKED.values(), ids=receivers_http.PACKED)
async def test_a_compressed_answer_is_unpacked(packed: WireAnswer) -> None:
    async with open_server() as server, HttpClient() as http:
        for _ in range(2):
            server.replies.append(packed)
            answer = await http.post(server.base, json={})
            assert (answer.status, answer.text, answer.truncated) == (200, "ok", False)


@pytest.mark.parametrize("damaged", receivers_http.DAMAGED.values(), ids=receivers_http.DAMAGED)
async def test_a_damaged_compressed_answer_is_one_that_did_not_arrive(damaged: WireAnswer) -> None:
    async with open_server() as server, HttpClient() as http:
        server.respond = lambda _request: damaged
        failure = await outcome(http, server.base)
        assert str(failure) == f"the answer of {server.base} is compressed and damaged"
        assert isinstance(failure, HttpFailed)
        assert failure.maybe_sent
        answer = await http.post(server.base, json={}, need_body=False)
        assert (answer.status, answer.truncated) == (200, True)
        assert answer.text.isalnum() or not answer.body


@pytest.mark.parametrize(
    "name",
    ["a broken zip", "a zip with a wrong sum", "a broken zlib", "brotli that is none", "an unknown encoding"],
)
async def test_a_body_that_cannot_be_unpacked_stays_as_it_came(name: str) -> None:
    async with open_server() as server, HttpClient() as http:
        server.replies.append(receivers_http.BROKEN[name])
        answer = await http.get(server.base)
    assert "content-encoding" in answer.headers
    assert receivers_http.BROKEN[name].data.endswith(b"\r\n\r\n" + answer.body)


@pytest.mark.parametrize("name", ["headers of 120 KB", "headers without end"])
async def test_headers_that_are_too_long_are_named(name: str) -> None:
    async with open_server() as server, HttpClient() as http:
        server.replies.append(receivers_http.BROKEN[name])
        failure = await outcome(http, server.base)
    assert str(failure) == f"{server.base} answered with more than 100 KB of headers"


@pytest.mark.parametrize("data", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_answers_that_are_not_http(data: bytes) -> None:
    async with open_server() as server, HttpClient() as http:
        server.replies.append(WireAnswer((data,)))
        failure = await outcome(http, server.base)
    assert isinstance(failure, HttpFailed)
    assert failure.maybe_sent


@pytest.mark.parametrize("status", [200, 301, 302, 303, 307, 308, 401, 407, 503])
@pytest.mark.parametrize("header", ODD_HEADERS.values(), ids=ODD_HEADERS)
async def test_an_odd_header_is_somebody_elses(header: bytes, status: int) -> None:
    async with open_server() as server, HttpClient() as http:
        head = f"HTTP/1.1 {status} Told\r\ncontent-length: 2\r\n".encode()
        server.replies.append(WireAnswer((head + header + b"\r\nok",), Then.KEEP))
        answer = await http.get(server.base)
    assert (answer.status, answer.body) == (status, b"ok")


# Bugs inside of a library


class Broken(Exception):
    """An error that no list of a library's errors contains."""


UNEXPECTED = [
    Broken("canary"),
    ValueError("canary"),
    KeyError("canary"),
    AssertionError("canary"),
    UnicodeDecodeError("utf-8", b"canary", 0, 1, "canary"),
    RuntimeError("canary"),
    RecursionError("canary"),
    MemoryError("canary"),
    ExceptionGroup("canary", [ValueError("canary")]),
]


@pytest.mark.parametrize("error", UNEXPECTED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["handle_async_request", "aiter_stream", "aclose"])
async def test_every_exception_inside_the_library_is_our_error(
    error: Exception, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(*_: object) -> Any:
        raise error

    owner = httpcore.AsyncHTTP11Connection if place == "handle_async_request" else httpcore.Response
    async with open_server() as server, HttpClient() as http:
        with monkeypatch.context() as patch:
            patch.setattr(owner, place, breaking)
            failure = await outcome(http, server.base)
        assert isinstance(failure, HttpFailed)
        assert type(error).__name__ in str(failure)
        assert failure.maybe_sent == (place != "handle_async_request")
        assert (await http.get(server.base)).status == 200


@pytest.mark.parametrize(
    "url", ["http://h/\ud800", "http://\ud800/", "http://u:\ud800@h/", "http://h:٣/", "http://[v1.x]/"]
)
async def test_odd_urls_are_no_urls(url: str) -> None:
    async with HttpClient() as http:
        failure = await outcome(http, url)
    assert isinstance(failure, HttpFailed)
    assert not failure.maybe_sent


@pytest.mark.parametrize(("url", "headers"), [(7, {}), (None, {}), ("http://127.0.0.1:1/", {"X": 7})])
async def test_a_url_or_header_that_is_not_a_str_is_the_callers_mistake(url: Any, headers: Any) -> None:
    async with HttpClient() as http:
        with pytest.raises(TypeError):
            await http.get(url, headers=headers)


# Reused connections


async def test_a_reused_connection_that_ends_before_an_answer_is_no_trouble() -> None:
    async with open_server() as server, HttpClient() as http:
        await http.get(server.base)
        server.replies.append(WireAnswer(()))
        answer = await http.post(server.base, json={"id": 1})
        assert answer.status == 200
        assert [request.body for request in server.requests] == [b"", b'{"id": 1}', b'{"id": 1}']


async def test_a_reused_connection_that_is_reset_is_no_trouble() -> None:
    async with open_server() as server, HttpClient() as http:
        await http.get(server.base)
        server.replies.append(WireAnswer((), Then.RESET))
        assert (await http.post(server.base, json={"id": 1})).status == 200


async def test_the_second_try_gets_a_connection_of_its_own() -> None:
    """For any number of idle connections: they are as old as the one that was closed."""
    everybody = trio.Event()

    async with open_server() as server, HttpClient() as http:

        async def get() -> None:
            await http.get(server.base)

        def together(request: Received) -> Any:
            if len(server.requests) == 2:
                everybody.set()
            return Held(everybody, Reply())

        server.respond = together
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(get)
        assert server.connections == 3
        answers: Iterator[Answer] = iter([WireAnswer(()), Reply(200, b"new")])
        server.respond = lambda _request: next(answers)
        assert (await http.get(server.base)).body == b"new"
        await server.wait_until(lambda: server.connections == 1)


async def test_a_second_end_is_trouble_and_may_have_been_sent() -> None:
    async with open_server() as server, HttpClient() as http:
        await http.get(server.base)
        server.respond = lambda _request: WireAnswer(())
        failure = await outcome(http, server.base)
        assert str(failure) == f"{server.base} closed the connection without an answer"
        assert isinstance(failure, HttpFailed)
        assert failure.maybe_sent
        assert len(server.requests) == 3


async def test_a_second_try_that_cannot_connect_says_that_the_first_may_have_been_sent() -> None:
    async with open_server() as server, HttpClient() as http:
        await http.get(server.base)

        def shut(_request: Received) -> WireAnswer:
            server.close()
            return WireAnswer(())

        server.respond = shut
        failure = await outcome(http, server.base)
        assert isinstance(failure, HttpFailed)
        assert "Connection refused" in str(failure)
        assert failure.maybe_sent


async def test_a_new_connection_that_ends_is_not_tried_again() -> None:
    async with open_server() as server, HttpClient() as http:
        server.respond = lambda _request: WireAnswer(())
        assert isinstance(await outcome(http, server.base), HttpFailed)
        assert len(server.requests) == 1


async def test_a_request_is_not_repeated_after_its_answer_has_begun() -> None:
    async with open_server() as server, HttpClient() as http:
        await http.get(server.base)
        server.respond = lambda _request: WireAnswer((b"H",))
        assert isinstance(await outcome(http, server.base), HttpFailed)
        assert len(server.requests) == 2


async def test_a_204_that_announces_a_body_spoils_no_later_answer() -> None:
    async with open_server() as server, HttpClient() as http:
        server.respond = lambda _request: WireAnswer(
            (b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",), Then.KEEP
        )
        for _ in range(3):
            assert (await http.post(server.base, json={})).status == 204
        assert len(server.requests) == 3


@pytest.mark.parametrize("trailing", [b"\n", b"\r\n", b"more", b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n"])
@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 x\r\nlink: y\r\n\r\n"])
@pytest.mark.parametrize("length", [0, 2, 100_000])
async def test_bytes_behind_an_answer_are_no_answer(before: bytes, trailing: bytes, length: int) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n".encode()
    async with open_server() as server, HttpClient() as http:
        server.respond = lambda _request: WireAnswer((before + head + b"x" * length + trailing,), Then.KEEP)
        for _ in range(3):
            answer = await http.post(server.base, json={}, max_body=200_000)
            assert (answer.status, len(answer.body)) == (200, length)
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1;a=b\r\no\r\n" * 9000 + b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 103 x\r\nlink: y\r\n\r\n" * 500 + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\n" + b"x: y\n" * 9000 + b"content-length: 2\n\nok",
    ],
    ids=["chunks", "trailers", "many chunks", "two lengths", "many interim answers", "many headers"],
)
async def test_bytes_behind_an_answer_whose_end_is_hard_to_find_are_no_answer(answer: bytes) -> None:
    async with open_server() as server, HttpClient() as http:
        server.respond = lambda _request: WireAnswer(
            (answer + b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n",), Then.KEEP
        )
        for _ in range(3):
            assert (await http.post(server.base, json={}, timeout=60)).status == 200
        assert len(server.requests) == 3


async def test_nor_is_the_body_of_an_answer_to_head() -> None:
    async with open_server() as server, HttpClient() as http:
        server.respond = lambda _request: WireAnswer(
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",), Then.KEEP
        )
        for _ in range(3):
            assert (await http.request("HEAD", server.base)).status == 200


async def test_nor_is_a_record_of_tls_that_came_along() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem")
    requests = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal requests
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secured = context.wrap_bio(incoming, outgoing, server_side=True)
        shaken = False
        while True:
            try:
                if not shaken:
                    secured.do_handshake()
                    shaken = True
                if not secured.read(65536):
                    return
                requests += 1
                for status in (200, 500):
                    secured.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n".encode())
            except ssl.SSLWantReadError:
                await stream.send_all(outgoing.read())
                arrived = await stream.receive_some(65536)
                if not arrived:
                    return
                incoming.write(arrived)

    async with trio.open_nursery() as nursery, HttpClient(ca_file=TLS / "ca.pem") as http:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/"
        for _ in range(3):
            assert (await http.get(url)).status == 200
        assert requests == 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 x\r\n\r\n", b"HTTP/1.1 103 x\r\nlink: " + b"y" * 9000 + b"\r\n\r\n"]
)
async def test_interim_answers_without_end_are_no_answer(interim: bytes) -> None:
    async with open_server() as server, HttpClient() as http:
        server.respond = lambda _request: WireAnswer((interim,), Then.GO_ON)
        # The deadline would give another error.
        failure = await outcome(http, server.base, timeout=60.0)
    assert str(failure) == f"{server.base} answered with something that is not HTTP"


@pytest.mark.parametrize("length", [0, 100_000])
@pytest.mark.parametrize("interim", [0, 1, 300])
async def test_a_long_answer_may_come_behind_interim_ones(interim: int, length: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000 + f"\r\ncontent-length: {length}\r\n\r\n".encode()
    async with open_server() as server, HttpClient() as http:
        server.respond = lambda _request: WireAnswer((b"HTTP/1.1 102 x\r\n\r\n" * interim + head + b"x" * length,))
        assert len((await http.get(server.base, max_body=200_000, timeout=60)).body) == length


async def test_an_answer_with_thousands_of_headers_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"x{number:x}" for number in range(8000)]
    head = "".join(f"{name}: 1\r\n" for name in [*names, "x7", "X7"])
    looked_up: list[str] = []
    look_up = httpx.Headers.__getitem__

    def noted(headers: httpx.Headers, name: str) -> str:
        looked_up.append(name)
        return look_up(headers, name)

    monkeypatch.setattr(httpx.Headers, "__getitem__", noted)
    async with open_server() as server, HttpClient() as http:
        server.respond = lambda _request: WireAnswer((f"HTTP/1.1 204 No Content\r\n{head}\r\n".encode(),))
        answer = await http.get(server.base)
    assert set(names) == answer.headers.keys()
    assert answer.headers["x7"] == "1, 1, 1"
    assert len(looked_up) < 10


async def test_others_have_their_turn_while_an_answer_comes_in_small_pieces() -> None:
    turns, pieces = 0, 10_000

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with open_server() as server, HttpClient() as http, trio.open_nursery() as nursery:
        server.respond = lambda _request: WireAnswer((head + b"1\r\no\r\n" * pieces + b"0\r\n\r\n",))
        nursery.start_soon(others)
        assert len((await http.get(server.base)).body) == pieces
        nursery.cancel_scope.cancel()
    assert turns > pieces


async def test_a_complete_answer_leaves_its_connection_for_the_next() -> None:
    async with open_server() as server, HttpClient(idle_expiry_s=3600.0) as http:
        # The end of these is not searched for.
        odd = ("8,000 headers", "chunks of one byte")
        for answer in (answer for name, answer in receivers_http.ACCEPTED.items() if name not in odd):
            if answer.then is Then.KEEP and answer.data.startswith(b"HTTP/1.1 200"):
                server.replies.append(answer)
                await http.post(server.base, json={}, max_body=2_000_000)
                assert server.connections == 1
