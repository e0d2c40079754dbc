"""The addresses of an orchestrator: the two possible bases of its API, and the socket of a project."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlsplit

from aintandem_notify.config.types.outbound import ascii_host

_DEFAULT_PORTS: Final = {False: 80, True: 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host, a port, and whether it speaks TLS."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """The value of a Host header; it has the port only if that is not the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.tls] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SocketTarget:
    """The target of a WebSocket. ``resource`` is path and query; it holds the token, so ``repr`` leaves it out."""

    endpoint: Endpoint
    resource: str = field(repr=False)


def api_bases(url: str) -> tuple[str, ...]:
    """The possible base URLs of the API, the likelier first: the url with ``/api``, then the url itself."""
    base = url.rstrip("/")
    return (base,) if urlsplit(base).path.endswith("/api") else (f"{base}/api", base)


def endpoint_of(url: str) -> Endpoint:
    """The endpoint of an http, https, ws or wss URL; credentials in it are ignored. Raises ValueError."""
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
