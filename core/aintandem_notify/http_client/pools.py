"""The connections of a client that are kept for the next request, and their number over a family of clients.

httpcore's pools make the connections; they do not keep them. Such a pool looks at each of its requests and
connections, with a system call for each idle one, whenever a request begins or ends. With 32 requests at a time
that takes longer than the request.
"""

import ssl
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Never, cast

import httpcore
import httpx
import trio

from aintandem_notify.config import Outbound
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client.backend import GuardedBackend
from aintandem_notify.http_client.request import Target
from aintandem_notify.http_client.slots import HttpSlots, IdleConnection
from aintandem_notify.http_client.tls import tls_context

IDLE_EXPIRY_S: Final = 1.5
"""Seconds; shorter than in common servers, so that few idle connections are found closed: gunicorn closes them
after 2 s; Apache, Node.js, uvicorn and hypercorn after 5 s."""


class _Server(NamedTuple):
    """A server and the way to it."""

    scheme: str
    host: bytes
    port: int
    through_proxy: bool


class Reply(NamedTuple):
    """The answer to a request; its body is still to be read. After ``aclose`` its connection can be reused."""

    answer: httpcore.Response
    aclose: Callable[[], Any]


class ConnectionPool:
    """The connections of one client. Each takes one of ``slots``. ``aclose`` it.

    ``close_expired_forever`` closes connections that nobody uses any more; without it a later request does.
    """

    def __init__(self, outbound: Outbound, ca_file: Path | None, slots: HttpSlots) -> None:
        self._outbound = outbound
        self._ca_file = ca_file
        self._slots = slots
        self._makers: dict[tuple[str, bool], httpcore.AsyncConnectionPool] = {}
        self._open: set[httpcore.AsyncConnectionInterface] = set()
        self._idle: defaultdict[_Server, list[IdleConnection]] = defaultdict(list)
        self._has_idle = trio.Event()

    def share(self) -> "ConnectionPool":
        """An empty pool with the same settings, slots and certificates, which take long to read."""
        other = ConnectionPool(self._outbound, self._ca_file, self._slots)
        other._makers = self._makers
        return other

    async def send(self, request: httpx.Request, target: Target) -> Reply:
        """Send the request, whose stream is asynchronous. Raises HttpFailed, and errors of the libraries."""
        server = self._server(target)
        connection = await self._take(server, target)
        sent = False
        try:
            answer = await connection.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=target.core_url,
                    headers=request.headers.raw,
                    content=cast("httpx.AsyncByteStream", request.stream),
                )
            )
            sent = True
        finally:
            if not sent:
                await self._close(connection)

        async def finish() -> None:
            try:
                with trio.CancelScope(shield=True):
                    await answer.aclose()
            finally:
                await self._give_back(server, connection)

        return Reply(answer, finish)

    async def close_idle(self, target: Target) -> None:
        """Close the idle connections to the server of ``target``, so that the next request opens a new one."""
        for idle in list(self._idle[self._server(target)]):
            await idle.close()

    async def close_expired_forever(self) -> Never:
        """Close connections that have been idle for too long, as soon as they have."""
        while True:
            await self._has_idle.wait()
            await trio.sleep(IDLE_EXPIRY_S)
            for idle in self._all_idle():
                if _is_old(idle):
                    await idle.close()
            if not self._all_idle():
                self._has_idle = trio.Event()

    def _all_idle(self) -> list[IdleConnection]:
        return [idle for group in self._idle.values() for idle in group]

    async def aclose(self) -> None:
        """Close every connection."""
        for idle in self._all_idle():
            await idle.close()
        for connection in list(self._open):
            await self._close(connection)

    def _server(self, target: Target) -> _Server:
        proxy = self._outbound.proxy_for(target.host.decode("ascii"), target.port)
        return _Server(target.scheme, target.host, target.port, proxy is not None)

    async def _take(self, server: _Server, target: Target) -> httpcore.AsyncConnectionInterface:
        """The connection that was used last, or a new one."""
        group = self._idle[server]
        while group:
            idle = group[-1]
            if not _is_old(idle) and not idle.connection.has_expired():
                return idle.take()
            await idle.close()
        connection = self._maker(server.scheme, server.through_proxy).create_connection(target.core_url.origin)
        self._open.add(connection)
        return connection

    async def _give_back(self, server: _Server, connection: httpcore.AsyncConnectionInterface) -> None:
        if not connection.is_idle() or connection not in self._open or self._slots.is_short:
            await self._close(connection)
            return
        group = self._idle[server]
        IdleConnection(connection, group, self._slots, self._close)
        self._has_idle.set()
        while group and _is_old(group[0]):
            await group[0].close()

    async def _close(self, connection: httpcore.AsyncConnectionInterface) -> None:
        self._open.discard(connection)
        with trio.CancelScope(shield=True):
            await connection.aclose()

    def _maker(self, scheme: str, through_proxy: bool) -> httpcore.AsyncConnectionPool:
        """The pool of httpcore that makes connections of this kind."""
        key = (scheme, through_proxy)
        if key not in self._makers:
            self._makers[key] = self._make_maker(*key)
        return self._makers[key]

    def _make_maker(self, scheme: str, through_proxy: bool) -> httpcore.AsyncConnectionPool:
        proxy = self._outbound.proxy if through_proxy else None
        options: dict[str, Any] = {
            # Reading the certificates takes 20 ms and more; plain HTTP saves them.
            "ssl_context": self._tls_context() if scheme == "https" else None,
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


def _is_old(idle: IdleConnection) -> bool:
    return trio.current_time() - idle.since_s > IDLE_EXPIRY_S
