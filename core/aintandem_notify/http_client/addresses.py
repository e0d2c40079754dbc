"""Decides whether an address may be dialled.

A webhook's URL must not reach the credentials that cloud providers serve to the machine of the agent. Private
networks are allowed: orchestrators live there. So is 100.64.0.0/10, which overlay networks use, except for the
range below.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from aintandem_notify.config.types.outbound import Address, Network, Outbound

LINK_LOCAL: Final = "a link-local address"
PROTOCOL_ASSIGNED: Final = "an address that is set aside for network protocols"
CLOUD_PROVIDER: Final = "an address of a cloud provider's own services"

_KINDS: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), kind)
    for network, kind in (
        # RFC 3927 and RFC 4291: no lasting URLs, but the metadata of nearly every cloud; OpenStack also has it
        # at fe80::a9fe:a9fe.
        ("169.254.0.0/16", LINK_LOCAL),
        ("fe80::/10", LINK_LOCAL),
        # RFC 6890; 192.0.0.192 is Oracle's.
        ("192.0.0.0/24", PROTOCOL_ASSIGNED),
        # Alibaba's 100.100.100.200. Tailscale gives no address in this range to machines, it has its DNS there.
        ("100.100.100.0/24", CLOUD_PROVIDER),
        # Azure's WireServer, which hands out certificates.
        ("168.63.129.16/32", CLOUD_PROVIDER),
        # Unique local addresses with a chosen prefix, not a random one as in RFC 4193: Amazon's
        # (::254 metadata, ::23 pod identities), Google's, Oracle's, Akamai's, Scaleway's.
        ("fd00:ec2::/32", CLOUD_PROVIDER),
        ("fd20:ce::/32", CLOUD_PROVIDER),
        ("fd00:c1::/32", CLOUD_PROVIDER),
        ("fd00:a9fe:a9fe::/48", CLOUD_PROVIDER),
        ("fd00:42::42/128", CLOUD_PROVIDER),
    )
)

_IPV4: Final = 0xFFFFFFFF
"""A mask for 32 bits."""
# Prefixes of addresses that hold an IPv4 address, each with one for 169.254.169.254:
_SIXTOFOUR: Final = 0x2002  # 6to4 (RFC 3056): 2002:a9fe:a9fe::1
_TEREDO: Final = 0x20010000  # Teredo (RFC 4380): 2001:0:a9fe:a9fe::1, or inverted: 2001:0:808:808::5601:5601
_LOCAL_NAT64: Final = 0x0064_FF9B_0001  # local-use NAT64 (RFC 8215): 64:ff9b:1::a9fe:a9fe
# The upper half of an interface identifier that holds an IPv4 address in its lower half: by itself
# (::a9fe:a9fe), IPv4-mapped (::ffff:a9fe:a9fe), IPv4-translated (RFC 2765, ::ffff:0:a9fe:a9fe), and ISATAP's two
# (RFC 5214, fe80::5efe:a9fe:a9fe and fe80::200:5efe:a9fe:a9fe).
_BEFORE_IPV4: Final = frozenset({0x00000000, 0x0000FFFF, 0xFFFF0000, 0x00005EFE, 0x02005EFE})


def forbidden_kind(address: str, outbound: Outbound) -> str | None:
    """The kind of a forbidden address, in words. None if it is harmless, or if ``outbound`` allows it.

    An IPv6 address that embeds an IPv4 one is forbidden if either is. Raises ValueError if ``address`` is not
    numeric; a scope (``fe80::1%eth0``) is fine.
    """
    parsed = ip_address(address)
    if outbound.allows(parsed):
        return None
    targets = (parsed, *(_embedded(int(parsed)) if isinstance(parsed, IPv6Address) else ()))
    kinds = (kind for target in targets if (kind := _kind(target)) is not None and not outbound.allows(target))
    return next(kinds, None)


def _kind(address: Address) -> str | None:
    # Addresses with and without a scope are unequal, but both are in the network.
    return next((kind for network, kind in _KINDS if address in network), None)


def _embedded(address: int) -> Iterator[IPv4Address]:
    """The IPv4 addresses that translators and tunnels may extract from an IPv6 one.

    A translator may have any prefix (RFC 6052). So the last 32 bits count unless the 32 bits before them belong to
    an ordinary interface identifier.
    """
    if (address >> 32) & _IPV4 in _BEFORE_IPV4:
        yield IPv4Address(address & _IPV4)
    if address >> 112 == _SIXTOFOUR:
        yield IPv4Address((address >> 80) & _IPV4)
    if address >> 96 == _TEREDO:
        yield IPv4Address((address >> 64) & _IPV4)  # the server
        yield IPv4Address(~address & _IPV4)  # the client, inverted
    if address >> 80 == _LOCAL_NAT64:
        yield from _translated(address)


def _translated(address: int) -> Iterator[IPv4Address]:
    """The IPv4 addresses that a local-use NAT64 address may hold, for prefixes of 96, 64, 56 and 48 bits.

    Bits 64 to 71 are never a part of them (RFC 6052): with 48 bits, 169.254.169.254 is 64:ff9b:1:a9fe:a9:fe00::.
    """
    yield IPv4Address(address & _IPV4)
    without_octet = (address >> 64 << 56) | (address & ((1 << 56) - 1))
    for length in (48, 56, 64):
        yield IPv4Address((without_octet >> (120 - length - 32)) & _IPV4)
