"""An HTTP proxy on loopback that requires a login: tunnels for CONNECT, and plain requests to one server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import trio

REFUSED = b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


@dataclass
class ForwardProxy:
    """``authorization`` is the required header value. ``targets`` are the method and target of each connection."""

    authorization: str
    port: int = 0
    targets: list[str] = field(default_factory=list)

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection, to one server."""
        with suppress(*_GONE):
            await self._serve(client)

    async def _serve(self, client: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            received = await client.receive_some()
            if not received:
                return
            head += received
        method, target, _ = head.decode("latin-1").split(" ", 2)
        if f"Proxy-Authorization: {self.authorization}\r\n".lower() not in head.decode("latin-1").lower():
            await client.send_all(REFUSED)
            return
        self.targets.append(f"{method} {target}")
        place = urlsplit(f"//{target}" if method == "CONNECT" else target)
        async with await trio.open_tcp_stream(place.hostname or "", place.port or 80) as server:
            if method == "CONNECT":
                await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                await server.send_all(head.replace(f"http://{place.netloc}".encode(), b"", 1))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_on, client, server, nursery.cancel_scope)
                await _pass_on(server, client, nursery.cancel_scope)


async def _pass_on(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    with suppress(*_GONE):
        async for content in source:
            # A reused connection sends the next request, which names the server, too.
            first_line, end, following = content.partition(b"\r\n")
            if b" http://" in first_line[:20]:
                method, target, version = first_line.split(b" ", 2)
                first_line = b" ".join((method, b"/" + target.split(b"/", 3)[3], version))
            await sink.send_all(first_line + end + following)
    scope.cancel()


@asynccontextmanager
async def open_forward_proxy(authorization: str) -> AsyncIterator[ForwardProxy]:
    """A proxy until the block ends."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy = ForwardProxy(authorization, listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, proxy.serve, [listener]))
        yield proxy
        nursery.cancel_scope.cancel()
