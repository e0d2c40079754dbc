"""Forbidden addresses are never dialled; the others are tried in parallel."""

import math
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.config import DIRECT, Outbound
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client import HttpClient, addresses
from aintandem_notify.http_client.addresses import forbidden_kind
from aintandem_notify.http_client.tcp_connect import ATTEMPT_DELAY_S, MAX_PARALLEL_ATTEMPTS, race
from support.http_server import Reply, open_server

# Addresses that are in no list: each is in a forbidden network, or embeds an IPv4 address that is.
REFUSED = {
    "link-local": ("169.254.169.254", "169.254.0.0", "169.254.255.255", "169.254.170.2", "fe80::1"),
    "link-local, OpenStack": ("fe80::a9fe:a9fe", "fe80::a9fe:a9fe%1", "febf:ffff::1"),
    "for protocols": ("192.0.0.192", "192.0.0.0", "192.0.0.255"),
    "providers": ("100.100.100.200", "168.63.129.16", "fd00:42::42", "fd00:c1::a9fe:a9fe", "fd00:a9fe:a9fe::1"),
    "Amazon": ("fd00:ec2::254", "fd00:ec2::254%1", "fd00:ec2::23", "fd00:ec2::253", "fd00:ec2:0:1::7"),
    "Google": ("fd20:ce::254",),
    "mapped": ("::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::ffff:100.100.100.200", "::ffff:192.0.0.192"),
    "translated": ("::ffff:0:169.254.169.254", "::ffff:0:100.100.100.200"),
    "compatible": ("::169.254.169.254", "::100.100.100.200"),
    "NAT64": ("64:ff9b::a9fe:a9fe", "64:ff9b::100.100.100.200", "2001:db8:64::169.254.169.254"),
    "local NAT64": (
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:abcd::169.254.169.254",
        "64:ff9b:1:abcd:1234:5678:169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:0a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
    ),
    "6to4": ("2002:a9fe:a9fe::1", "2002:6464:64c8::"),
    "Teredo": ("2001:0:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:5601:5601"),
    "ISATAP": ("2001:db8::5efe:169.254.169.254", "2001:db8::200:5efe:a9fe:a9fe", "fe80::5efe:10.0.0.1"),
}


@pytest.mark.parametrize("address", [address for addresses in REFUSED.values() for address in addresses])
def test_addresses_of_metadata_services(address: str) -> None:
    assert forbidden_kind(address, DIRECT) is not None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.101.1",
        "169.253.255.255",
        "169.255.0.0",
        "192.0.1.1",
        "::",
        "::1",
        "fd00::1",
        "fd12:3456:789a::1",
        "fd00:42::43",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2001:db8::1",
        "2002:a00:1::1",
        "2606:4700::6810:84e5",
    ],
)
def test_other_addresses(address: str) -> None:
    assert forbidden_kind(address, DIRECT) is None


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::{}", "64:ff9b::{}", "64:ff9b:1::{}", "::ffff:0:{}"]))
def test_an_ipv4_address_is_of_its_kind_in_any_disguise(address: IPv4Address, disguise: str) -> None:
    assert (forbidden_kind(disguise.format(address), DIRECT) is None) == (
        forbidden_kind(str(address), DIRECT) is None
    )


@given(st.ip_addresses())
def test_a_range_allows_the_addresses_in_it(address: IPv4Address | IPv6Address) -> None:
    everything = Outbound.parse(allow_addresses=["0.0.0.0/0", "::/0"])
    assert forbidden_kind(str(address), everything) is None


@pytest.mark.parametrize(
    ("allowed", "address", "dialled"),
    [
        ("169.254.10.0/24", "169.254.10.7", True),
        ("169.254.10.0/24", "::ffff:169.254.10.7", True),
        ("169.254.10.0/24", "64:ff9b::169.254.10.7", True),
        ("169.254.10.0/24", "169.254.11.7", False),
        ("169.254.10.0/24", "64:ff9b::169.254.169.254", False),
        ("fe80::/10", "fe80::7%1", True),
        ("fe80::/10", "169.254.10.7", False),
        ("fd00:ec2::23", "fd00:ec2::23", True),
        ("fd00:ec2::23", "fd00:ec2::254", False),
    ],
)
def test_addresses_that_the_operator_allows(allowed: str, address: str, dialled: bool) -> None:
    assert (forbidden_kind(address, Outbound.parse(allow_addresses=[allowed])) is None) == dialled


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


_system_getaddrinfo: Any = socket.getaddrinfo


class _Names:
    """Resolves every name to the given addresses, in place of the system."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    def getaddrinfo(self, host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        if host[0].isdigit():
            return list(_system_getaddrinfo(host, port, *args, **options))
        self.asked += 1
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in self.addresses
        ]


@contextmanager
def _resolving_to(*addresses: str) -> Iterator[_Names]:
    names = _Names(*addresses)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", names.getaddrinfo)
        yield names


async def test_a_name_that_leads_to_metadata_is_refused() -> None:
    words = re.escape("hooks.example (169.254.169.254) leads to a link-local address")
    async with HttpClient() as http:
        with _resolving_to("169.254.169.254"), pytest.raises(HttpFailed, match=words):
            await http.post("http://hooks.example/x", json={})


async def test_only_the_harmless_address_of_a_name_is_dialled() -> None:
    async with open_server() as server, HttpClient() as http:
        server.replies.append(Reply(200, b"here"))
        with _resolving_to("169.254.169.254", "127.0.0.1"):
            answer = await http.get(f"http://hooks.example:{server.port}/")
    assert answer.body == b"here"


async def test_the_check_is_made_for_each_connection() -> None:
    """A name that changes its answer gains nothing: the dialled address itself is checked."""
    async with open_server() as server, HttpClient() as http:
        server.replies.append(Reply(200, b"", {"connection": "close"}))
        with _resolving_to("127.0.0.1") as names:
            await http.get(f"http://hooks.example:{server.port}/")
            await server.wait_until(lambda: server.connections == 0)
            names.addresses = ("169.254.169.254",)
            with pytest.raises(HttpFailed, match="metadata"):
                await http.get(f"http://hooks.example:{server.port}/")
    assert names.asked == 2


class _Stream:
    def __init__(self, address: str, still_open: set[str]) -> None:
        self.address = address
        self.still_open = still_open
        still_open.add(address)

    async def aclose(self) -> None:
        self.still_open.discard(self.address)
        await trio.lowlevel.checkpoint()


class _Network:
    """Addresses that connect or fail after a number of seconds of trio's clock."""

    def __init__(self, **delays: tuple[float, bool]) -> None:
        self.delays = delays
        self.started: list[tuple[float, str]] = []
        self.still_open: set[str] = set()
        self.began = trio.current_time()
        self.running = 0
        self.max_running = 0

    async def dial(self, address: str) -> _Stream:
        self.started.append((trio.current_time() - self.began, address))
        delay, works = self.delays[address]
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        try:
            await trio.sleep(delay)
        finally:
            self.running -= 1
        if not works:
            raise OSError(address)
        return _Stream(address, self.still_open)


async def test_the_first_address_gets_a_head_start(autojump_clock: trio.testing.MockClock) -> None:
    network = _Network(a=(10.0, True), b=(1.0, True), c=(0.0, True))
    stream, _ = await race(network.dial, ["a", "b", "c"])
    assert isinstance(stream, _Stream)
    assert stream.address == "c"
    assert network.started == [(0.0, "a"), (ATTEMPT_DELAY_S, "b"), (2 * ATTEMPT_DELAY_S, "c")]
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
    network = _Network(a=(ATTEMPT_DELAY_S + 1.0, True), b=(1.0, True))
    stream, _ = await race(network.dial, ["a", "b"])
    assert isinstance(stream, _Stream)
    assert network.still_open == {stream.address}


async def test_hosts_with_many_addresses_that_do_not_answer_take_hardly_more_than_a_place_each(
    autojump_clock: trio.testing.MockClock,
) -> None:
    addresses = [f"{host} {number}" for host in range(50) for number in range(8)]
    network = _Network(**dict.fromkeys(addresses, (math.inf, True)))
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + 20
        for host in range(50):
            nursery.start_soon(race, network.dial, [f"{host} {number}" for number in range(8)])
    assert {address for _, address in network.started} == set(addresses)
    assert network.max_running == 50 + MAX_PARALLEL_ATTEMPTS
    assert network.running == 0


async def test_a_place_beside_others_is_given_back(autojump_clock: trio.testing.MockClock) -> None:
    for _ in range(2 * MAX_PARALLEL_ATTEMPTS):
        network = _Network(a=(9.0, True), b=(0.1, False), c=(0.1, True))
        stream, _ = await race(network.dial, ["a", "b", "c"])
        assert isinstance(stream, _Stream)
        assert stream.address == "c"
        assert network.max_running == 2


async def test_an_address_that_gave_way_is_no_failure_of_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hanging = _Network(**dict.fromkeys("abcdef", (math.inf, True)))
    network = _Network(a=(math.inf, True), b=(1.0, True))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(race, hanging.dial, list("abcdef"))
        await trio.sleep(5)
        stream, failures = await race(network.dial, ["a", "b"])
        nursery.cancel_scope.cancel()
    assert isinstance(stream, _Stream)
    assert (stream.address, failures) == ("b", [])
    assert network.max_running == 1


class _CancelsOnSuccess(_Network):
    """The caller's scope is cancelled at the moment when the connection is established."""

    def __init__(self, scope: trio.CancelScope) -> None:
        super().__init__(a=(0.0, True))
        self.scope = scope

    async def dial(self, address: str) -> _Stream:
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


async def test_a_client_dials_addresses_that_the_operator_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_KINDS", ((ip_network("127.0.0.0/8"), "an address for this test"),))
    async with (
        open_server() as server,
        HttpClient() as http,
        HttpClient(allow_addresses=["127.0.0.1"]) as allowing,
    ):
        with pytest.raises(HttpFailed, match="leads to an address for this test"):
            await http.get(server.base)
        assert (await allowing.get(server.base)).status == 200
