"""Makes the requests that are sent, from a method, a URL, headers and a body."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import httpcore
import httpx

from aintandem_notify import __version__
from aintandem_notify.config.types.outbound import MAX_PORT, basic, credentials_of
from aintandem_notify.errors import HttpFailed

FORCED_HEADERS: Final = {"accept-encoding": "identity"}
DEFAULT_HEADERS: Final = {
    "accept": "*/*",
    "connection": "keep-alive",
    "user-agent": f"aintandem-notify/{__version__}",
}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HAS_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods that announce the length of their body, also if there is none."""

_UNUSABLE: Final = "this is not a URL that can be used: http:// or https:// and a host are needed"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL with its parts, which httpx computes each time that they are asked for."""

    url: httpx.URL
    core_url: httpcore.URL
    scheme: str
    host: bytes
    port: int
    origin: str
    """Scheme, host and port, for messages."""


class Body(httpx.AsyncByteStream):
    """A request's body in one piece of ``size`` bytes. ``is_taken``: it was asked for, so the head was written.

    The libraries use a generator for it. A cancelled request leaves that to the garbage collector, and trio warns
    about it.
    """

    def __init__(self, content: bytes) -> None:
        self.size: int = len(content)
        self.is_taken: bool = False
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        self.is_taken = True
        return _Pieces(iter((self._content,)))


class _Pieces:
    """An asynchronous iterator over pieces that are there already."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


@lru_cache(maxsize=64)
def parse_target(url: str) -> Target:
    """The target of a URL; raises HttpFailed for one that cannot be used."""
    try:
        parsed = httpx.URL(url)
        scheme, port = parsed.scheme, parsed.port
        usable = scheme in _DEFAULT_PORTS and bool(parsed.host) and 0 < (port or 80) <= MAX_PORT
    except (httpx.InvalidURL, ValueError):  # UnicodeError, too
        usable = False
    if not usable:
        raise HttpFailed(_UNUSABLE)
    core_url = httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=port, target=parsed.raw_path)
    origin = f"{scheme}://{parsed.netloc.decode('ascii', 'replace')}"
    return Target(parsed, core_url, scheme, parsed.raw_host, port or _DEFAULT_PORTS[scheme], origin)


def build_request(method: str, target: Target, headers: Mapping[str, str], body: Body) -> httpx.Request:
    """The request, with all its headers. Raises HttpFailed for one that is not ASCII, TypeError for no str."""
    framing = {"host": target.url.netloc.decode("ascii")}
    if body.size or method.upper() in _HAS_BODY:
        framing["content-length"] = str(body.size)
    own: dict[str, str] = {}
    if target.url.userinfo:
        own["authorization"] = basic(credentials_of(target.url.userinfo.decode("ascii")))
    # By lower-case names, each with its spelling: merging them as httpx.Headers takes many times as long.
    fields = {
        str.lower(name): (name, value)
        for group in (framing, DEFAULT_HEADERS, headers, FORCED_HEADERS, own)
        for name, value in group.items()
    }
    try:
        encoded = [(str.encode(name, "ascii"), str.encode(value, "ascii")) for name, value in fields.values()]
    except UnicodeError:
        raise HttpFailed("the request cannot be sent: a header is not ASCII") from None
    return httpx.Request(method, target.url, headers=httpx.Headers(encoded), stream=body)
