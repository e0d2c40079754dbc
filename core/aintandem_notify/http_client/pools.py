"""httpcore's pools: one for each scheme and route (direct or through the proxy), made when first needed."""

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
"""Seconds; shorter than in common servers, so that few idle connections are found closed: gunicorn closes them
after 2 s; Apache, Node.js, uvicorn and hypercorn after 5 s."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Pools:
    """The connections of one client, at most ``max_connections`` at a time over all servers. ``aclose`` it."""

    def __init__(self, outbound: Outbound, ca_file: Path | None, max_connections: int) -> None:
        self._outbound = outbound
        self._ca_file = ca_file
        self._slots = trio.CapacityLimiter(max_connections)
        # Idle connections take at most half of the slots: there are up to four pools, and none closes the idle
        # connections of another.
        self._max_idle = min(MAX_IDLE_CONNECTIONS, max_connections // 8)
        self._pools: dict[tuple[str, bool], httpcore.AsyncConnectionPool] = {}

    async def send(self, request: httpx.Request, content: bytes) -> httpcore.Response:
        """The answer, whose body is still to be read; close it. Raises HttpFailed, and errors of the libraries."""
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
        """Close the idle connections to the server of ``url``, so that the next request opens a new one."""
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
            self._pools[key] = self._make_pool(*key)
        return self._pools[key]

    def _make_pool(self, scheme: str, through_proxy: bool) -> httpcore.AsyncConnectionPool:
        proxy = self._outbound.proxy if through_proxy else None
        options: dict[str, Any] = {
            # Reading the certificates takes 20 ms and more; plain HTTP saves them.
            "ssl_context": self._tls_context() if scheme == "https" else None,
            "max_connections": None,  # the backend counts them
            "max_keepalive_connections": self._max_idle,
            "keepalive_expiry": IDLE_EXPIRY_S,
            "network_backend": GuardedBackend(self._outbound, self._slots),
        }
        if proxy is None:
            return httpcore.AsyncConnectionPool(**options)
        if proxy.tls:
            options["proxy_ssl_context"] = self._tls_context()
        if proxy.authorization is not None:
            options["proxy_headers"] = [("Proxy-Authorization", proxy.authorization)]
        url = httpcore.URL(scheme="https" if proxy.tls else "http", host=proxy.host, port=proxy.port, target="/")
        return httpcore.AsyncHTTPProxy(url, **options)

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return tls_context(self._ca_file)
        except OSError as error:
            reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise HttpFailed(f"cannot use the CA file {self._ca_file}: {reason}") from None


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


class _Content:
    """A request's body, as an asynchronous iterable.

    The libraries use a generator for it. A cancelled request leaves that to the garbage collector, and trio warns
    about it.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _SinglePiece(self._content)


class _SinglePiece:
    """An iterator over one piece."""

    def __init__(self, piece: bytes) -> None:
        self._pieces = [piece]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()
