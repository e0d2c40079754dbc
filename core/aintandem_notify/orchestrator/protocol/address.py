"""Where things are: the two bases that an orchestrator's API can have, and the socket of a project."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlsplit

from aintandem_notify.config.types.outbound import ascii_host

_DEFAULT_PORTS: Final = {False: 80, True: 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and a port, and whether to speak TLS to it."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """The value of a Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.tls] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SocketTarget:
    """What to connect to; ``resource`` is path and query, and holds the token, so it never shows."""

    endpoint: Endpoint
    resource: str = field(repr=False)


def api_bases(url: str) -> tuple[str, ...]:
    """Where the API may live, the likelier first: under ``/api``, or bare where only the url's owner knows."""
    bare = url.rstrip("/")
    return (bare,) if urlsplit(bare).path.endswith("/api") else (f"{bare}/api", bare)


def endpoint_of(url: str) -> Endpoint:
    """The endpoint of an http, https, ws or wss url; credentials in it are ignored. Raises ValueError."""
    parts = urlsplit(url)
    tls = parts.scheme in ("https", "wss")
    if not parts.hostname:
        raise ValueError("the url names no host")
    return Endpoint(ascii_host(parts.hostname), parts.port or _DEFAULT_PORTS[tls], tls)


def socket_target(base: str, project_id: str, token: str) -> SocketTarget:
    """The project's progress socket under an API base."""
    path = urlsplit(base).path.rstrip("/")
    resource = f"{path}/progress/subscribe/{quote(project_id, safe='')}?token={quote(token, safe='')}"
    return SocketTarget(endpoint_of(base), resource)
