"""A plain WebSocket client for tests of servers: it owns its TCP stream, so that nothing is left open."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream


@asynccontextmanager
async def open_socket(url: str, *, origin: str | None = None) -> AsyncIterator[WebSocketConnection]:
    """A connected client of ``http://HOST:PORT/PATH?QUERY``. A handshake error comes in no exception group."""
    parts = urlsplit(url)
    headers = [] if origin is None else [(b"Origin", origin.encode())]
    async with await trio.open_tcp_stream(parts.hostname or "", parts.port or 80) as stream:
        try:
            async with trio.open_nursery() as nursery:
                connection = await wrap_client_stream(
                    nursery,
                    stream,
                    parts.netloc,
                    f"{parts.path}?{parts.query}",
                    extra_headers=headers,
                    max_message_size=2**24,
                )
                yield connection
                with trio.move_on_after(1):
                    await connection.aclose()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
