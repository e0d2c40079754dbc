"""A server that speaks TLS, with a certificate of the tests' own authority."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.lowlevel
import trio.testing

from support.http_server import Reply

TLS = Path(__file__).with_name("tls")
"""The certificates."""

CLOSES = {"connection": "close"}


@asynccontextmanager
async def tls_server() -> AsyncIterator[int]:
    """The port of a server that says ``ok`` over TLS to one request a connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem")

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            async with stream:
                await stream.receive_some(65536)
                await stream.send_all(Reply(200, b"ok", CLOSES).encode())
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        (listening,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener = trio.SSLListener(listening, context, https_compatible=True)
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield port_of(listening)
        nursery.cancel_scope.cancel()


def port_of(listener: trio.SocketListener) -> int:
    """The port that it listens at."""
    number: int = listener.socket.getsockname()[1]
    return number
