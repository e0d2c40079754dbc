"""Which addresses may be dialled.

Whoever writes the URL of a webhook must not reach the credentials that cloud providers serve to the machine the
agent runs on. Private networks are allowed: that is where orchestrators live.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

METADATA_NETWORK: Final = IPv4Network("169.254.0.0/16")
METADATA_ADDRESS: Final = IPv6Address("fd00:ec2::254")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")


def is_metadata(address: str) -> bool:
    """Whether the numeric address reaches a cloud's metadata service, also as IPv4 inside of IPv6.

    A scope (``fe80::1%eth0``) is fine; raises ValueError for what is no numeric address.
    """
    parsed = ip_address(address)
    if isinstance(parsed, IPv4Address):
        return parsed in METADATA_NETWORK
    # Compared by number: a scope must not make the address another one.
    if int(parsed) == int(METADATA_ADDRESS):
        return True
    inner = _inner_address(parsed)
    return inner is not None and inner in METADATA_NETWORK


def _inner_address(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a mapped, compatible, NAT64 or 6to4 address leads to."""
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
