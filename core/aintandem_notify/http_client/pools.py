"""The connections of a client that are kept for the next request, and their number over a family of clients.

httpcore's pools make the connections; they do not keep them. Such a pool looks at each of its requests and
connections, with a system call for each idle one, whenever a request begins or ends. With 32 requests at a time
that takes longer than the request.
"""

import ssl
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Never, cast

import httpcore
import httpx
import trio

from aintandem_notify.config import Outbound
from aintandem_notify.config.types.outbound import Proxy
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client.backend import GuardedBackend
from aintandem_notify.http_client.request import Target
from aintandem_notify.http_client.slots import HttpSlots, IdleConnection
from aintandem_notify.http_client.tls import tls_context


class Server(NamedTuple):
    """A server, and the proxy on the way to it."""

    scheme: str
    host: bytes
    port: int
    proxy: Proxy | None


class Reply(NamedTuple):
    """The answer to a request; its body is still to be read. After ``aclose`` its connection can be reused."""

    answer: httpcore.Response
    aclose: Callable[[], Any]


class Connector:
    """Makes the connections of a family of clients: to the server itself, or through the proxy.

    ``idle_expiry_s``: seconds for which they are kept unused.
    """

    def __init__(self, outbound: Outbound, ca_file: Path | None, slots: HttpSlots, idle_expiry_s: float) -> None:
        self.slots = slots
        self.idle_expiry_s = idle_expiry_s
        self._outbound = outbound
        self._ca_file = ca_file
        self._backend = GuardedBackend(outbound, slots)
        self._proxies: dict[str, httpcore.AsyncConnectionPool] = {}
        self._tls: ssl.SSLContext | None = None

    def server(self, target: Target) -> Server:
        """The server of the target, and the way to it."""
        proxy = self._outbound.proxy_for(target.host.decode("ascii"), target.port)
        return Server(target.scheme, target.host, target.port, proxy)

    async def connect(self, server: Server, target: Target) -> httpcore.AsyncConnectionInterface:
        """A connection; through a proxy it is made with the first request.

        Raises HttpFailed, and errors of the libraries.
        """
        if server.proxy is not None:
            return self._proxied(server.scheme, server.proxy).create_connection(target.core_url.origin)
        # Without the other connection that httpcore puts around this one: a lock, and a turn of all tasks.
        host, context = server.host.decode("ascii"), self._tls_context() if server.scheme == "https" else None
        stream = await self._backend.connect_tcp(host, server.port)
        if context is not None:
            stream = await stream.start_tls(context, server_hostname=host)
        return httpcore.AsyncHTTP11Connection(target.core_url.origin, stream)

    def _proxied(self, scheme: str, proxy: Proxy) -> httpcore.AsyncConnectionPool:
        """The pool of httpcore that makes connections through the proxy."""
        if scheme not in self._proxies:
            options: dict[str, Any] = {
                "ssl_context": self._tls_context() if scheme == "https" else None,
                "network_backend": self._backend,
            }
            if proxy.tls:
                options["proxy_ssl_context"] = self._tls_context()
            if proxy.authorization is not None:
                options["proxy_headers"] = [("Proxy-Authorization", proxy.authorization)]
            url = httpcore.URL(
                scheme="https" if proxy.tls else "http", host=proxy.host, port=proxy.port, target="/"
            )
            self._proxies[scheme] = httpcore.AsyncHTTPProxy(url, **options)
        return self._proxies[scheme]

    def _tls_context(self) -> ssl.SSLContext:
        # Reading the certificates takes 20 ms and more; plain HTTP saves them.
        if self._tls is None:
            try:
                self._tls = tls_context(self._ca_file)
            except OSError as error:
                reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
                raise HttpFailed(f"cannot use the CA file {self._ca_file}: {reason}") from None
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


class ConnectionPool:
    """The connections of one client, made by ``connector``. ``aclose`` it.

    ``close_expired_forever`` closes connections that nobody uses any more; without it a later request does.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._open: set[httpcore.AsyncConnectionInterface] = set()
        self._idle: defaultdict[Server, list[IdleConnection]] = defaultdict(list)
        self._has_idle = trio.Event()

    def share(self) -> "ConnectionPool":
        """An empty pool with the same settings, slots and certificates."""
        return ConnectionPool(self._connector)

    async def send(self, request: httpx.Request, target: Target) -> Reply:
        """Send the request, whose stream is asynchronous. Raises HttpFailed, and errors of the libraries."""
        server = self._connector.server(target)
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
        for idle in list(self._idle[self._connector.server(target)]):
            await idle.close()

    async def close_expired_forever(self) -> Never:
        """Close connections that have been idle for too long, as soon as they have."""
        while True:
            await self._has_idle.wait()
            await trio.sleep(self._connector.idle_expiry_s)
            for idle in self._all_idle():
                if self._is_old(idle):
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

    async def _take(self, server: Server, target: Target) -> httpcore.AsyncConnectionInterface:
        """The connection that was used last, or a new one."""
        group = self._idle[server]
        while group:
            idle = group[-1]
            if not self._is_old(idle) and not idle.connection.has_expired():
                return idle.take()
            await idle.close()
        connection = await self._connector.connect(server, target)
        self._open.add(connection)
        return connection

    async def _give_back(self, server: Server, connection: httpcore.AsyncConnectionInterface) -> None:
        if not connection.is_idle() or connection not in self._open or self._connector.slots.is_short:
            await self._close(connection)
            return
        group = self._idle[server]
        IdleConnection(connection, group, self._connector.slots, self._close)
        self._has_idle.set()
        while group and self._is_old(group[0]):
            await group[0].close()

    async def _close(self, connection: httpcore.AsyncConnectionInterface) -> None:
        self._open.discard(connection)
        with trio.CancelScope(shield=True):
            await connection.aclose()

    def _is_old(self, idle: IdleConnection) -> bool:
        return trio.current_time() - idle.since_s > self._connector.idle_expiry_s
