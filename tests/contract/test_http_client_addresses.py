"""Which addresses are never dialled, and how the others are."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import pytest
import trio
import trio.testing

from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client import HttpClient
from aintandem_notify.http_client.addresses import is_metadata
from aintandem_notify.http_client.dialling import HEAD_START, race
from support.http_server import Reply, open_server

METADATA = [
    "169.254.169.254",
    "169.254.0.0",
    "169.254.255.255",
    "fd00:ec2::254",
    "fd00:ec2::254%1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]


@pytest.mark.parametrize("address", METADATA)
def test_metadata_addresses(address: str) -> None:
    assert is_metadata(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "169.253.255.255",
        "169.255.0.0",
        "::1",
        "fe80::1%eth0",
        "fd00:ec2::253",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2001:db8::1",
    ],
)
def test_other_addresses(address: str) -> None:
    assert not is_metadata(address)


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "0xa9fea9fe"])
async def test_metadata_in_any_notation_is_refused(host: str) -> None:
    async with HttpClient() as http:
        with pytest.raises(HttpFailed, match="metadata") as caught:
            await http.get(f"http://{host}/latest/meta-data/")
    assert not caught.value.maybe_sent


@pytest.mark.parametrize("host", ["[fd00:ec2::254]", "[::ffff:169.254.169.254]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_metadata_in_ipv6_is_refused(scheme: str, host: str) -> None:
    async with HttpClient() as http:
        with pytest.raises(HttpFailed, match="metadata"):
            await http.get(f"{scheme}://{host}/")


class _Names(trio.abc.HostnameResolver):
    """Resolves every name to the given addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in self.addresses
        ]

    async def getnameinfo(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


@contextmanager
def _resolving_to(*addresses: str) -> Iterator[_Names]:
    names = _Names(*addresses)
    before = trio.socket.set_custom_hostname_resolver(names)
    try:
        yield names
    finally:
        trio.socket.set_custom_hostname_resolver(before)


async def test_a_name_that_leads_to_metadata_is_refused() -> None:
    async with HttpClient() as http:
        with _resolving_to("169.254.169.254"), pytest.raises(HttpFailed, match=r"hooks\.example leads to a cloud"):
            await http.post("http://hooks.example/x", json={})


async def test_only_the_harmless_address_of_a_name_is_dialled() -> None:
    async with open_server() as server, HttpClient() as http:
        server.replies.append(Reply(200, b"here"))
        with _resolving_to("169.254.169.254", "127.0.0.1"):
            answer = await http.get(f"http://hooks.example:{server.port}/")
    assert answer.body == b"here"


async def test_the_check_is_made_for_each_connection() -> None:
    """A name that changes its answer gains nothing: what is checked is what is dialled."""
    async with open_server() as server, HttpClient() as http:
        server.replies.append(Reply(200, b"", {"connection": "close"}))
        with _resolving_to("127.0.0.1") as names:
            await http.get(f"http://hooks.example:{server.port}/")
            await server.wait_until(lambda: server.connections == 0)
            names.addresses = ("169.254.169.254",)
            with pytest.raises(HttpFailed, match="metadata"):
                await http.get(f"http://hooks.example:{server.port}/")
    assert names.asked == 2


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, address: str, still_open: set[str]) -> None:
        self.address = address
        self.still_open = still_open
        still_open.add(address)

    async def aclose(self) -> None:
        self.still_open.discard(self.address)
        await trio.lowlevel.checkpoint()


class _Network:
    """Addresses that connect or fail after some seconds of trio's clock."""

    def __init__(self, **delays: tuple[float, bool]) -> None:
        self.delays = delays
        self.started: list[tuple[float, str]] = []
        self.still_open: set[str] = set()
        self.began = trio.current_time()

    async def dial(self, address: str) -> httpcore.AsyncNetworkStream:
        self.started.append((trio.current_time() - self.began, address))
        delay, works = self.delays[address]
        await trio.sleep(delay)
        if not works:
            raise httpcore.ConnectError(address)
        return _Stream(address, self.still_open)


async def test_the_first_address_gets_a_head_start(autojump_clock: trio.testing.MockClock) -> None:
    network = _Network(a=(10.0, True), b=(1.0, True), c=(0.0, True))
    stream, _ = await race(network.dial, ["a", "b", "c"])
    assert isinstance(stream, _Stream)
    assert stream.address == "c"
    assert network.started == [(0.0, "a"), (HEAD_START, "b"), (2 * HEAD_START, "c")]
    assert network.still_open == {"c"}


async def test_a_failure_makes_room_at_once(autojump_clock: trio.testing.MockClock) -> None:
    network = _Network(a=(0.1, False), b=(1.0, True))
    stream, failures = await race(network.dial, ["a", "b"])
    assert isinstance(stream, _Stream)
    assert network.started == [(0.0, "a"), (0.1, "b")]
    assert [str(failure) for failure in failures] == ["a"]


async def test_a_slow_first_address_wins_when_the_others_fail(autojump_clock: trio.testing.MockClock) -> None:
    network = _Network(a=(5.0, True), b=(1.0, False))
    stream, _ = await race(network.dial, ["a", "b"])
    assert isinstance(stream, _Stream)
    assert stream.address == "a"


async def test_all_addresses_fail(autojump_clock: trio.testing.MockClock) -> None:
    network = _Network(a=(3.0, False), b=(1.0, False))
    stream, failures = await race(network.dial, ["a", "b"])
    assert stream is None
    assert [str(failure) for failure in failures] == ["b", "a"]


async def test_two_at_once_leave_one_open(autojump_clock: trio.testing.MockClock) -> None:
    network = _Network(a=(HEAD_START + 1.0, True), b=(1.0, True))
    stream, _ = await race(network.dial, ["a", "b"])
    assert isinstance(stream, _Stream)
    assert network.still_open == {stream.address}


class _CancelsOnSuccess(_Network):
    """The caller's scope is cancelled in the moment the connection stands."""

    def __init__(self, scope: trio.CancelScope) -> None:
        super().__init__(a=(0.0, True))
        self.scope = scope

    async def dial(self, address: str) -> httpcore.AsyncNetworkStream:
        stream = await super().dial(address)
        self.scope.cancel()
        return stream


async def test_a_cancelled_caller_leaves_no_connection_behind() -> None:
    stream = None
    with trio.CancelScope() as scope:
        network = _CancelsOnSuccess(scope)
        stream, _ = await race(network.dial, ["a"])
    assert stream is None
    assert len(network.started) == 1
    assert network.still_open == set()
