"""httpcore's pools: one for each scheme and way (direct, or through the proxy), made when it is first needed."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Self

import httpcore
import httpx
import trio

from aintandem_notify.config import Outbound
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client.backend import GuardedBackend
from aintandem_notify.http_client.tls import tls_context

MAX_IDLE_CONNECTIONS: Final = 20
IDLE_EXPIRY_S: Final = 1.5
"""Seconds; below those after which common servers close an idle connection, so that few are found closed: gunicorn
2 s; Apache, Node.js, uvicorn and hypercorn 5 s."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Pools:
    """The connections of one client, at most ``most`` at a time over all servers. ``aclose`` them."""

    def __init__(self, outbound: Outbound, ca_file: Path | None, most: int) -> None:
        self._outbound = outbound
        self._ca_file = ca_file
        self._room = trio.CapacityLimiter(most)
        # Those that nobody uses take no more than half of the room: there are up to four pools, and none closes
        # what is idle in another.
        self._most_idle = min(MAX_IDLE_CONNECTIONS, most // 8)
        self._pools: dict[tuple[str, bool], httpcore.AsyncConnectionPool] = {}

    async def send(self, request: httpx.Request, content: bytes) -> httpcore.Response:
        """The answer as it comes; close it. Raises HttpFailed, and whatever the libraries raise."""
        return await self._pool_for(request.url).handle_async_request(
            httpcore.Request(
                method=request.method,
                url=_core_url(request.url),
                headers=request.headers.raw,
                content=_Content(content),
                extensions=request.extensions,
            )
        )

    async def close_idle(self, url: httpx.URL) -> None:
        """Close the connections to the server of ``url`` that nobody uses, so that the next request opens one."""
        origin = _core_url(url).origin
        for connection in self._pool_for(url).connections:
            if connection.can_handle_request(origin) and connection.is_idle():
                await connection.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()

    def _pool_for(self, url: httpx.URL) -> httpcore.AsyncConnectionPool:
        proxy = self._outbound.proxy_for(url.raw_host.decode("ascii"), url.port or _DEFAULT_PORTS[url.scheme])
        key = (url.scheme, proxy is not None)
        if key not in self._pools:
            self._pools[key] = self._made(*key)
        return self._pools[key]

    def _made(self, scheme: str, through_proxy: bool) -> httpcore.AsyncConnectionPool:
        proxy = self._outbound.proxy if through_proxy else None
        options: dict[str, Any] = {
            # Plain HTTP goes without the 20 ms and more that reading the certificates takes.
            "ssl_context": self._trusted() if scheme == "https" else None,
            "max_connections": None,  # the backend counts them
            "max_keepalive_connections": self._most_idle,
            "keepalive_expiry": IDLE_EXPIRY_S,
            "network_backend": GuardedBackend(self._outbound, self._room),
        }
        if proxy is None:
            return httpcore.AsyncConnectionPool(**options)
        if proxy.tls:
            options["proxy_ssl_context"] = self._trusted()
        if proxy.authorization is not None:
            options["proxy_headers"] = [("Proxy-Authorization", proxy.authorization)]
        url = httpcore.URL(scheme="https" if proxy.tls else "http", host=proxy.host, port=proxy.port, target="/")
        return httpcore.AsyncHTTPProxy(url, **options)

    def _trusted(self) -> ssl.SSLContext:
        try:
            return tls_context(self._ca_file)
        except OSError as error:
            reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise HttpFailed(f"cannot use the CA file {self._ca_file}: {reason}") from None


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


class _Content:
    """A request's body. The libraries' is a generator: if its request is cancelled while it is sent, it is left to
    the garbage collector, of which trio complains.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _SinglePiece(self._content)


class _SinglePiece:
    """Gives one piece."""

    def __init__(self, piece: bytes) -> None:
        self._left = [piece]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()
