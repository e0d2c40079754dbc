"""Names are resolved independently of each other and of other work in threads, with ``getaddrinfo``.

``socket.getaddrinfo`` is replaced, so the threads are real; they are held by events, and no test waits for time
to pass.
"""

import socket
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from aintandem_notify.api import Plugin, PluginConfig, hookimpl
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client import HttpClient
from aintandem_notify.http_client.name_lookup import MAX_THREADS, SECOND_QUERY_AFTER_S, resolve
from aintandem_notify.orchestrator.link.dial import client_context, open_stream
from aintandem_notify.orchestrator.protocol.address import Endpoint
from aintandem_notify.store import Store, open_storage
from support.hosting import hosting
from support.http_server import open_server
from support.nasty.process import HOSTS_THAT_HANG

ADDRESSES = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0))]


class Resolver:
    """A fake ``getaddrinfo``: some names hang until they are released; numbers and localhost work."""

    def __init__(self, system: Any) -> None:
        self.system = system
        self.hanging: list[str] = []
        self.released = threading.Event()
        self.answer: list[Any] | Exception = ADDRESSES
        self.news = threading.Semaphore(0)

    def getaddrinfo(self, host: str, *args: Any, **options: Any) -> Any:
        if host == "localhost" or host[0].isdigit() or ":" in host:
            return self.system(host, *args, **options)
        self.hanging.append(host)
        self.news.release()
        assert self.released.wait(60)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def wait_for(self, count: int) -> None:
        """Return once ``count`` more queries hang."""
        for _ in range(count):
            # Not one of trio's usual threads: the tested code may have taken all of them.
            await trio.to_thread.run_sync(partial(self.news.acquire, timeout=60), limiter=trio.CapacityLimiter(1))


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver(socket.getaddrinfo)
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    yield resolver
    resolver.released.set()


async def give_up(http: HttpClient, url: str) -> None:
    with pytest.raises(HttpFailed):
        await http.get(url, timeout=60)


async def test_names_that_hang_delay_no_other(resolver: Resolver) -> None:
    async with open_server() as server, HttpClient() as http, trio.open_nursery() as nursery:
        for host in HOSTS_THAT_HANG:
            nursery.start_soon(give_up, http, f"http://{host}/")
        await resolver.wait_for(len(HOSTS_THAT_HANG))
        assert (await http.get(f"http://localhost:{server.port}/")).status == 200
        async with await open_stream(Endpoint("localhost", server.port, False), tls=partial(client_context, None)):
            pass
        nursery.cancel_scope.cancel()


async def test_more_names_than_connections_hang_and_delay_no_other(resolver: Resolver) -> None:
    hosts = [f"slow-{number}.invalid" for number in range(150)]
    async with open_server() as server, HttpClient() as http, trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(give_up, http, f"http://{host}/")
        await resolver.wait_for(len(hosts))
        assert (await http.get(f"http://localhost:{server.port}/")).status == 200
        nursery.cancel_scope.cancel()


async def test_sockets_whose_names_hang_delay_no_other(resolver: Resolver) -> None:
    async def dial(host: str) -> None:
        async with await open_stream(Endpoint(host, 80, False), tls=partial(client_context, None)):
            pytest.fail("connected")

    async with open_server() as server, trio.open_nursery() as nursery:
        for host in HOSTS_THAT_HANG:
            nursery.start_soon(dial, host)
        await resolver.wait_for(len(HOSTS_THAT_HANG))
        async with await open_stream(Endpoint("localhost", server.port, False), tls=partial(client_context, None)):
            pass
        nursery.cancel_scope.cancel()


async def test_numbers_need_no_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked up"))
    assert await resolve("127.0.0.1") == ["127.0.0.1"]
    assert await resolve("::1") == ["::1"]
    assert await resolve("fe80::1%1") == await resolve("fe80::1%251") == ["fe80::1%1"]
    assert await resolve("2130706433") == ["127.0.0.1"]
    assert await resolve("0x7f.1") == ["127.0.0.1"]


async def test_queries_for_the_same_name_are_shared(resolver: Resolver) -> None:
    answers: list[list[str]] = []

    async def query() -> None:
        answers.append(await resolve("slow.invalid"))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as impatient:
            nursery.start_soon(query)
            nursery.start_soon(query)
            await resolver.wait_for(1)
            impatient.cancel()
            await resolve("slow.invalid")
        resolver.released.set()
    assert answers == [["127.0.0.1"], ["127.0.0.1"]]
    assert resolver.hanging == ["slow.invalid"]
    assert await resolve("slow.invalid") == ["127.0.0.1"]
    assert len(resolver.hanging) == 2


async def test_giving_up_leaves_few_threads_behind(resolver: Resolver, mock_clock: trio.testing.MockClock) -> None:
    for _ in range(5):
        for _ in range(3):
            with trio.CancelScope() as impatient:
                impatient.cancel()
                await resolve("slow.invalid")
        mock_clock.jump(SECOND_QUERY_AFTER_S)
    await resolver.wait_for(MAX_THREADS)
    resolver.released.set()
    assert await resolve("slow.invalid") == ["127.0.0.1"]
    assert len(resolver.hanging) == MAX_THREADS


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError(), "the look-up failed (OSError)"),
        (UnicodeError("label too long"), "not a host name"),
        (ValueError("embedded null character"), "not a host name"),
        (RuntimeError("can't start new thread"), "the look-up failed (RuntimeError)"),
        (KeyError("x"), "the look-up failed (KeyError)"),
        ([], "it has none"),
    ],
)
async def test_a_look_up_that_fails(resolver: Resolver, answer: Any, words: str) -> None:
    resolver.answer = answer
    resolver.released.set()
    for _ in range(2):
        with pytest.raises(HttpFailed) as caught:
            await resolve("slow.invalid")
        assert str(caught.value) == f"cannot find the address of slow.invalid: {words}"
        assert not caught.value.maybe_sent


class Plain(Plugin[PluginConfig]):
    """A hook that runs in a thread."""

    @hookimpl
    def check(self) -> None:
        return


async def test_nothing_of_ours_needs_a_thread_of_trios_usual_ones(resolver: Resolver) -> None:
    """A plugin may block all of them, for ever."""
    usual = trio.to_thread.current_default_thread_limiter()
    async with (
        open_server() as server,
        HttpClient() as http,
        open_storage("sqlite://") as storage,
        hosting(plain=Plain) as bench,
    ):
        name = await bench.load("plain")
        borrowers = [object() for _ in range(int(usual.total_tokens))]
        for borrower in borrowers:
            usual.acquire_on_behalf_of_nowait(borrower)
        try:
            assert (await http.get(f"http://localhost:{server.port}/")).status == 200
            await storage.run(Store.touch)
            await bench.host.check(name)
        finally:
            for borrower in borrowers:
                usual.release_on_behalf_of(borrower)
