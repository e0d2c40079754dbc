"""Serves an ASGI application with Hypercorn's HTTP: for the simulator and for the agent's control API.

Connections are accepted here and not by Hypercorn: it accepts any number of them, ends when one of its parsers
fails, and logs a traceback ten times a second when no descriptor is left.
"""

import errno
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from starlette.requests import ClientDisconnect

from aintandem_notify.foundation.exception_groups import leaves
from aintandem_notify.foundation.http_server.connections import (
    SCOPE_KEY,
    SEND_TIMEOUT_MS,
    ClientConnection,
    ConnectionLimiter,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

BACKLOG: Final = 128
"""Connections that wait in the kernel until there is room; they take no descriptor of the process."""

ACCEPT_RETRY_S: Final = 0.1
"""Seconds between tries while no connection can be accepted; the same as in trio."""

_CLIENT_GONE_ERRNOS: Final = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.EAGAIN})
"""Errors of ``accept`` for a client that has already gone."""


def bound_socket(host: str, port: int, send_timeout_ms: int = SEND_TIMEOUT_MS) -> socket.socket:
    """A socket bound to the IP address ``host``; ``port`` 0 takes a free one. Raises OSError.

    A client that does not read its answer for ``send_timeout_ms`` is cut off.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(AttributeError, OSError):
            bound.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, send_timeout_ms
            )  # accepted ones inherit it
        bound.setblocking(False)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


class BodyRefused(Exception):
    """A request's body was not read to its end. Holds the reason, and the HTTP ``status`` for the answer."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


async def read_body(request: "Request", *, max_bytes: int, timeout_s: float) -> bytes:
    """The body of a request. Raises BodyRefused beyond ``max_bytes`` or ``timeout_s``, or if it is cut off."""
    content = bytearray()
    try:
        with trio.fail_after(timeout_s):
            async with aclosing(request.stream()) as pieces:
                async for piece in pieces:
                    content += piece
                    if len(content) > max_bytes:
                        raise BodyRefused(f"the body has more than {max_bytes} bytes", 413)
    except ClientDisconnect:
        raise BodyRefused("the body did not end", 400) from None
    except trio.TooSlowError:
        raise BodyRefused(f"the body did not end within {timeout_s:.0f} s", 408) from None
    return bytes(content)


@asynccontextmanager
async def serve(
    app: "ASGIApp",
    bound: socket.socket,
    *,
    name: str,
    keep_alive_s: float,
    grace_s: float,
    limiter: ConnectionLimiter,
) -> AsyncIterator[None]:
    """Serves ``app`` on the bound socket for as long as the block lasts, and closes the socket.

    Errors are logged under ``name``. ``limiter`` bounds the connections; the application calls
    ``mark_authenticated`` for requests with the token. A connection without a complete request is closed after
    ``keep_alive_s`` seconds. At the end requests in progress have ``grace_s`` seconds.
    """
    # Hypercorn's INFO lines are of no use to the user, its errors are.
    errors = logging.getLogger(name)
    errors.setLevel(logging.WARNING)
    config = Config()
    config.keep_alive_timeout = keep_alive_s
    config.accesslog = None
    config.errorlog = errors
    config.include_server_header = False
    bound.listen(BACKLOG)
    with trio.socket.from_stdlib_socket(bound) as listening:
        async with trio.open_nursery() as connections:
            server = _Server(app, config, limiter, connections, errors)
            async with trio.open_nursery() as accepting:
                accepting.start_soon(server.accept_forever, listening)
                try:
                    yield
                finally:
                    accepting.cancel_scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + grace_s
            await server.context.terminated.set()


class AcceptErrors:
    """Logs errors of ``accept``: once when they begin and once when they are over. The server goes on."""

    def __init__(self, errors: logging.Logger) -> None:
        self._errors = errors
        self._failing = False

    def is_persistent(self, error: OSError) -> bool:
        """True if the next try would fail, too, so that a pause is due; false if only this client has gone."""
        if error.errno in _CLIENT_GONE_ERRNOS:
            return False
        if not self._failing:
            self._failing = True
            self._errors.warning("no connection can be accepted: %s", error.strerror)
        return True

    def clear(self) -> None:
        """Record that a connection was accepted."""
        if self._failing:
            self._failing = False
            self._errors.warning("connections are accepted again")


class _Server:
    """Accepts connections and answers them, each in a task of its own."""

    def __init__(
        self,
        app: "ASGIApp",
        config: Config,
        limiter: ConnectionLimiter,
        nursery: trio.Nursery,
        errors: logging.Logger,
    ) -> None:
        self._app = app
        self._config = config
        self._limiter = limiter
        self._nursery = nursery
        self._errors = errors
        self._reported: set[str] = set()
        self.context = WorkerContext(None)

    async def accept_forever(self, listening: trio.socket.SocketType) -> None:
        """Accept connections until cancelled."""
        accept_errors = AcceptErrors(self._errors)
        while True:
            await trio.lowlevel.wait_readable(listening.fileno())
            await self._limiter.make_room()
            try:
                accepted, _ = await listening.accept()
            except OSError as error:
                if accept_errors.is_persistent(error) and not self._limiter.close_idlest():
                    await trio.sleep(ACCEPT_RETRY_S)
                continue
            accept_errors.clear()
            self._nursery.start_soon(self._answer, trio.SocketStream(accepted))

    async def _answer(self, stream: trio.SocketStream) -> None:
        with self._limiter.register(stream) as connection, trio.CancelScope() as scope:
            transport = _HypercornStream(stream, connection, scope)
            app = ASGIWrapper(cast("ASGIFramework", self._app_for(connection)))
            state = ConnectionState({})
            try:
                await TCPServer(app, self._config, self.context, state, cast("Any", transport))
            except Exception as error:  # noqa: BLE001  # the border of a connection: no bytes may end the server
                self._report(error)
            finally:
                stream.socket.close()

    def _app_for(self, connection: ClientConnection) -> "ASGIApp":
        async def app(scope: "Scope", receive: "Receive", send: "Send") -> None:
            with self._limiter.request_in_progress(connection):
                await self._app({**scope, SCOPE_KEY: connection}, receive, send)

        return app

    def _report(self, error: Exception) -> None:
        """Log each kind of error once: the client may send such bytes for ever."""
        kind = type(next(leaves(error))).__name__
        if kind not in self._reported:
            self._reported.add(kind)
            self._errors.warning("a connection was closed: its bytes cannot be read as HTTP: %s", kind)


class _HypercornStream:
    """The stream of a connection for Hypercorn. It ends at once if the client or the limiter has closed it."""

    def __init__(self, stream: trio.SocketStream, connection: ClientConnection, scope: trio.CancelScope) -> None:
        self._stream = stream
        self._connection = connection
        self._scope = scope
        self.socket = stream.socket
        self.send_all = stream.send_all
        self.send_eof = stream.send_eof
        self.aclose = stream.aclose

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        """Read from the stream. Its end cancels the connection: Hypercorn would wait for its own deadline."""
        try:
            content = await self._stream.receive_some(max_bytes)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self._scope.cancel()
            raise
        if not content:
            await trio.lowlevel.checkpoint()  # lets a request that came just before begin
            if not self._connection.active_requests:
                self._scope.cancel()
        return content
