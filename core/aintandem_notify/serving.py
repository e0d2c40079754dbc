"""Serves an ASGI application with Hypercorn's trio worker: for the simulator and for the agent's control API."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio import serve
from hypercorn.typing import Framework

if TYPE_CHECKING:
    from starlette.types import ASGIApp

STALLED_MS: Final = 5000
"""Milliseconds until a client that takes nothing of its answer is cut off (Linux): Hypercorn's sends are shielded
from cancellation, so such a client could hold back the end of the process."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the IP address ``host``; ``port`` 0 takes a free one. Raises OSError."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(AttributeError, OSError):
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)  # accepted ones inherit it
        bound.setblocking(False)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


@asynccontextmanager
async def served(
    app: "ASGIApp", bound: socket.socket, *, name: str, keep_alive_s: float, grace_s: float
) -> AsyncIterator[None]:
    """``app`` behind the socket, which it closes, for as long as the block lasts.

    What goes wrong is logged under ``name``. Idle connections are kept for ``keep_alive_s`` seconds; at the end
    requests that run have ``grace_s`` seconds.
    """
    async with trio.open_nursery() as nursery:
        config = _Config(bound)
        config.graceful_timeout = grace_s
        config.keep_alive_timeout = keep_alive_s
        config.accesslog = None
        # Its notices ("Running on …") are nobody's concern, its errors are.
        config.errorlog = logging.getLogger(name)
        config.errorlog.setLevel(logging.WARNING)
        config.include_server_header = False
        await nursery.start(partial(serve, cast("Framework", app), config, mode="asgi"))
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()


class _Config(Config):
    """Hypercorn's, with a socket that is bound already: so that a port that is taken is found out before."""

    def __init__(self, bound: socket.socket) -> None:
        super().__init__()
        self._bound = bound

    def create_sockets(self) -> Sockets:
        """The one socket."""
        return Sockets([], [self._bound], [])
