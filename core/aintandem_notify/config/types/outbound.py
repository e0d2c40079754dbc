"""Settings of outgoing connections: the proxy, its exemptions, and addresses allowed despite the address guard.

Parses the texts of the config, for HTTP requests and WebSocket connections alike. No error message quotes a URL:
it may contain a login.
"""

import ipaddress
import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_PORT: Final = 65535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PROXY_EXPECTED: Final = "should be a proxy's address that begins with http:// or https://"
LOGIN_HINT: Final = "in its login, write # as %23, / as %2F, ? as %3F, @ as %40 and : as %3A"
"""The advice for an address whose login is not encoded."""
_NO_PROXY_EXPECTED: Final = (
    'should be a host ("hooks.example", ".example" for all under it), an address, a range ("10.0.0.0/8") or "*"'
)
_MAX_QUOTED: Final = 80
_FORBIDDEN_IN_LOGIN: Final = re.compile(r"[/?#\s]")
# Control characters in a login are not allowed (RFC 7617 section 2).
_BROKEN_ENCODING: Final = re.compile(r"%(?![0-9a-fA-F]{2})|%[01][0-9a-fA-F]|%7[fF]")
_ENTRY: Final = re.compile(
    r"(?P<subdomains>\*?\.)?(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]*/@,]+)(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    With ``tls`` the connection to it uses TLS. ``credentials`` are ``user:password`` as bytes.
    """

    host: str
    port: int
    tls: bool
    credentials: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL; raises ValueError with a message that does not quote it."""
        scheme, separator, remainder = url.partition("://")
        login, at, host_and_port = remainder.rpartition("@")
        try:
            # Without the login: the standard library rejects a URL whose password has a bracket.
            parts = _split(f"{scheme}{separator}{host_and_port}")
        except ValueError:
            raise ValueError(_with_hint(_PROXY_EXPECTED, url)) from None
        if parts.path not in ("", "/") or parts.query or parts.fragment or _FORBIDDEN_IN_LOGIN.search(login):
            raise ValueError(_with_hint("should end after its host and port", url))
        if _BROKEN_ENCODING.search(login):
            raise ValueError("should have no control characters and no lone % in its login; write % itself as %25")
        if not _is_text(credentials_of(login)):
            raise ValueError("should have a login that is UTF-8 when it is decoded; write ü as %C3%BC")
        host, port = ascii_host(parts.hostname or ""), parts.port or _DEFAULT_PORTS[parts.scheme]
        return cls(host, port, parts.scheme == "https", credentials_of(login) if at else None)

    @property
    def authorization(self) -> str | None:
        """The value of a Proxy-Authorization header; None without a login."""
        return None if self.credentials is None else basic(self.credentials)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _with_hint(sentence: str, url: str) -> str:
    return f"{sentence}; {LOGIN_HINT}" if "@" in url else sentence


def _split(url: str) -> SplitResult:
    """The parts of a plain http or https URL with a host; raises ValueError."""
    parts = urlsplit(url)
    usable = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    if not usable or not url.isprintable() or " " in url:
        raise ValueError("not a web address")
    ascii_host(parts.hostname or "")
    return parts


def is_web_address(url: str) -> bool:
    """True if ``url`` is an http or https URL with a valid host."""
    try:
        _split(url)
    except ValueError:
        return False
    return True


def credentials_of(login: str) -> bytes:
    """``user:password`` from a URL, percent-decoded."""
    user, _, password = login.partition(":")
    return unquote_to_bytes(user) + b":" + unquote_to_bytes(password)


def basic(credentials: bytes) -> str:
    """The value of an Authorization header for Basic authentication (RFC 7617)."""
    return f"Basic {b64encode(credentials).decode()}"


def ascii_host(host: str) -> str:
    """``host`` in its ASCII form, as in headers, certificates and DNS; raises ValueError if it is no host name.

    bücher.example is encoded as IDNA 2008, as httpx does.
    """
    if _as_address(host) is not None:
        return host
    if not host.isascii():
        import idna  # a hundred kilobytes of tables that few need

        host = idna.encode(host.lower()).decode()
    if not host or "%" in host:
        raise ValueError("not a host name")
    host.encode("idna")  # raises UnicodeError for a label that is empty or too long
    return host


def _as_address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class ProxyExemption:
    """An entry of ``no_proxy``: hosts to connect to directly. ``port`` None means every port.

    An empty ``domain`` matches every host. A domain matches all names under it, and itself unless
    ``subdomains_only``.
    """

    port: int | None
    network: Network | None = None
    domain: str = ""
    subdomains_only: bool = False

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Parse an entry; raises ValueError with a message for the operator."""
        if entry == "*":
            return cls(None)
        if "/" in entry:
            return cls(None, network=parse_network(entry))
        try:
            return cls(None, network=ipaddress.ip_network(entry))  # an IPv6 address needs no brackets
        except ValueError:
            parts = _ENTRY.fullmatch(entry)
        port = int(parts["port"]) if parts is not None and parts["port"] else None
        if parts is None or not entry.isprintable() or port == 0 or (port or 0) > MAX_PORT:
            raise ValueError(f"{_quoted(entry)} {_NO_PROXY_EXPECTED}")
        address = _as_address(parts["host"].strip("[]"))
        if address is not None:
            return cls(port, network=ipaddress.ip_network(address))
        try:
            domain = ascii_host(parts["host"]).lower().rstrip(".")
        except ValueError:
            raise ValueError(f"{_quoted(entry)} {_NO_PROXY_EXPECTED}") from None
        return cls(port, domain=domain, subdomains_only=parts["subdomains"] is not None)

    def matches(self, host: str, port: int) -> bool:
        """True if the entry matches the host as written in a URL; host names are not resolved."""
        if self.port not in (None, port):
            return False
        address = _as_address(host)
        if self.network is not None:
            return address is not None and _contains(self.network, address)
        name = host.lower().rstrip(".")
        is_subdomain = name.endswith(f".{self.domain}")
        return not self.domain or is_subdomain or (name == self.domain and not self.subdomains_only)


def parse_network(text: str) -> Network:
    """An address or a range, ``10.0.0.0/8``; raises ValueError with a message for the operator."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        nearest = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'{_quoted(text)} should be an address or a range of them, as "10.0.0.0/8"') from None
    raise ValueError(f'{_quoted(text)} names an address within a range; the range is "{nearest}"')


def _contains(network: Network, address: Address) -> bool:
    # Compared as numbers: a scope (fe80::1%eth0) does not make another address.
    return address.version == network.version and int(network[0]) <= int(address) <= int(network[-1])


def _quoted(text: str) -> str:
    return f'"{text[:_MAX_QUOTED]}"' if text.isprintable() else "the entry"


@dataclass(frozen=True, slots=True)
class Outbound:
    """The settings of all outgoing connections.

    ``allowed`` are addresses to connect to although the address guard refuses their kind.
    """

    proxy: Proxy | None = None
    exemptions: tuple[ProxyExemption, ...] = ()
    allowed: tuple[Network, ...] = ()

    @classmethod
    def parse(
        cls, proxy: str | None = None, no_proxy: Iterable[str] = (), allow_addresses: Iterable[str] = ()
    ) -> Self:
        """Parse the texts of a config; raises ValueError as their own ``parse``."""
        return cls(
            None if proxy is None else Proxy.parse(proxy),
            tuple(map(ProxyExemption.parse, no_proxy)),
            tuple(map(parse_network, allow_addresses)),
        )

    def proxy_for(self, host: str, port: int) -> Proxy | None:
        """The proxy for a host; None to connect directly."""
        exempt = any(exemption.matches(host, port) for exemption in self.exemptions)
        return None if exempt else self.proxy

    def allows(self, address: Address) -> bool:
        """True if the operator allowed this address."""
        return any(_contains(network, address) for network in self.allowed)


DIRECT: Final = Outbound()
"""No proxy, and no address allowed beyond the guard."""
