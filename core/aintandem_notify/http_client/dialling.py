"""Making the TCP connection: resolve, refuse what may not be dialled, and try the rest side by side."""

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import httpcore
import trio

from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client.addresses import is_metadata

HEAD_START: Final = 0.25
"""Seconds that an address gets before the next one is tried beside it (RFC 8305 section 5)."""

SocketOptions = Iterable[httpcore.SOCKET_OPTION]
Dial = Callable[[str], Awaitable[httpcore.AsyncNetworkStream]]


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """httpcore's trio backend that dials no metadata address, whatever name leads there.

    Checking what is dialled, and not what was typed, is what a name that changes its answer between check and
    use cannot get round.
    """

    def __init__(self) -> None:
        self._backend = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that takes one; raises HttpFailed."""
        found = await _resolve(host, port)
        allowed = [address for address in found if not is_metadata(address)]
        if not allowed:
            raise HttpFailed(f"{host} leads to a cloud metadata address; these are never contacted")
        dial = partial(
            self._backend.connect_tcp,
            port=port,
            timeout=timeout,
            local_address=local_address,
            socket_options=socket_options,
        )
        stream, failures = await race(dial, allowed)
        if stream is None:
            raise HttpFailed(f"cannot connect to {host}:{port}: {_reason(failures[0])}")
        return _Connection(stream)


class _Connection(httpcore.AsyncNetworkStream):
    """httpcore's stream, closed also when its TLS handshake is cancelled; httpcore itself forgets it then."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        async with AsyncExitStack() as unless_secured:
            unless_secured.push_async_callback(self._stream.aclose)
            secured = await self._stream.start_tls(ssl_context, server_hostname, timeout)
            unless_secured.pop_all()
        return _Connection(secured)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


async def race(dial: Dial, addresses: Sequence[str]) -> tuple[httpcore.AsyncNetworkStream | None, list[Exception]]:
    """The first connection that stands, else what each address failed with."""
    winner: httpcore.AsyncNetworkStream | None = None
    failures: list[Exception] = []
    async with AsyncExitStack() as unless_handed_over:

        async def try_address(address: str, failed: trio.Event) -> None:
            nonlocal winner
            try:
                stream = await dial(address)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failures.append(error)
                failed.set()
                return
            if winner is not None:  # two answered in the same moment
                await stream.aclose()
                return
            winner = stream
            unless_handed_over.push_async_callback(stream.aclose)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(try_address, address, failed)
                with trio.move_on_after(HEAD_START):
                    await failed.wait()
        if winner is not None:
            unless_handed_over.pop_all()
    return winner, failures


async def _resolve(host: str, port: int) -> list[str]:
    """Numeric addresses in the system's order of preference, each once."""
    try:
        entries = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise HttpFailed(f"cannot find the address of {host}: {reason}") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _reason(error: BaseException) -> str:
    """The system's word for it (``Connection refused``), which trio keeps in the causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return str(error)
