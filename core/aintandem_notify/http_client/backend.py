"""The connections under httpcore: dialled as all of ours are, counted, and watched for an end between requests."""

import re
import ssl
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any, Final

import h11
import httpcore
import trio

from aintandem_notify.config import Outbound
from aintandem_notify.http_client.tcp_connect import connect, describe_os_error

MAX_READ_BYTES: Final = 16384
"""Bytes that are read at a time; before more are, others have their turn. A few thousand tiny chunks or interim
answers fit into them."""
MAX_PREFIX_BYTES: Final = 16384
"""Bytes at the beginning of an answer that are looked through for its end; of interim ones no more is read."""

_FINAL: Final = re.compile(rb"HTTP/1\.\d [2-9]")

SocketOptions = Iterable[httpcore.SOCKET_OPTION]


class StaleConnection(httpcore.ReadError):
    """A connection that served an earlier request ended before the first byte of the answer to this one."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """httpcore's trio backend that dials as ``connect`` does, and has a place in ``room`` for each connection.

    Here and not in httpcore's pool, whose connections count from the look-up of their name on: names that hang
    would take the room of all others.
    """

    def __init__(self, outbound: Outbound, room: trio.CapacityLimiter) -> None:
        self._outbound = outbound
        self._backend = httpcore.TrioBackend()
        self._room = room

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that takes one; raises HttpFailed."""
        dial = partial(
            self._dial, port=port, timeout=timeout, local_address=local_address, socket_options=socket_options
        )
        return await connect(host, port, dial, self._outbound)

    async def _dial(self, address: str, **options: Any) -> "MonitoredStream":
        place = object()
        await self._room.acquire_on_behalf_of(place)
        leave = partial(self._room.release_on_behalf_of, place)
        with ExitStack() as unless_connected:
            unless_connected.callback(leave)
            try:
                stream = await self._backend.connect_tcp(address, **options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                raise OSError(describe_os_error(error)) from error
            unless_connected.pop_all()
        return MonitoredStream(stream, leave)


class MonitoredStream(httpcore.AsyncNetworkStream):
    """httpcore's stream. ``leave`` is called once it is closed.

    It is closed also when its TLS handshake is cancelled; httpcore itself forgets it then.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream, leave: Callable[[], None]) -> None:
        self._stream = stream
        self._leave: Callable[[], None] | None = leave
        self._served = False
        """Whether the request that is on its way is not the first."""
        self._arrived = 0
        """Bytes since the last request began."""
        self._first = bytearray()
        """The first of them."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            arrived = await self._stream.read(min(max_bytes, MAX_READ_BYTES), timeout)
        except httpcore.ReadError:
            self._refuse_silence()
            raise
        if not arrived:
            self._refuse_silence()
        self._arrived += len(arrived)
        missing = MAX_PREFIX_BYTES - len(self._first)
        self._first += arrived[:missing]
        if 0 < missing <= len(arrived) and _is_only_interim(bytes(self._first)):
            raise httpcore.RemoteProtocolError("interim answers without end")
        return arrived

    def holds_rest(self, method: str) -> bool:
        """Whether more came than the answer to a request of this kind: the rest is no answer to anything.

        True as well where nobody can tell, as behind very long chunks.
        """
        return _has_trailing_data(method, bytes(self._first), self._arrived) or self._holds_record()

    def _holds_record(self) -> bool:
        """Whether TLS has received more, or an end, of which the socket knows nothing any more."""
        secured = self.get_extra_info("ssl_object")
        try:
            return secured is not None and secured.read(1) is not None
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            return True

    def _refuse_silence(self) -> None:
        if self._served and not self._arrived:
            raise StaleConnection("a kept connection was closed") from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._arrived:
            self._served, self._arrived = True, 0
            self._first.clear()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            leave, self._leave = self._leave, None
            if leave is not None:
                leave()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        async with AsyncExitStack() as unless_secured:
            unless_secured.push_async_callback(self.aclose)
            secured = await self._stream.start_tls(ssl_context, server_hostname, timeout)
            unless_secured.pop_all()
        # What is under it is closed with it.
        leave, self._leave = self._leave, None
        return MonitoredStream(secured, leave or _nothing)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _has_trailing_data(method: str, first: bytes, arrived: int) -> bool:
    """Whether ``arrived`` bytes that begin with ``first`` are more than one answer, or nobody can tell."""
    reader = _response_parser(method, first)
    event = _skip_interim(reader)
    if not isinstance(event, h11.Response):
        return True
    head = len(first) - len(reader.trailing_data[0])
    fields = dict(event.headers)
    while isinstance(event, h11.Response | h11.Data):
        event = reader.next_event()
    if isinstance(event, h11.EndOfMessage):
        return arrived > len(first) or bool(reader.trailing_data[0])
    return arrived != head + int(fields.get(b"content-length", -1))


def _is_only_interim(first: bytes) -> bool:
    """Whether the bytes that an answer begins with hold interim ones and nothing else.

    They cost time and say nothing: a server that sends them without end would keep everybody from work.
    """
    if _FINAL.match(first):
        return False
    reader = _response_parser("GET", first)
    try:
        return _skip_interim(reader) is h11.NEED_DATA and not _FINAL.match(reader.trailing_data[0])
    except h11.RemoteProtocolError:  # whoever reads it says so
        return False


def _response_parser(method: str, answer: bytes) -> h11.Connection:
    """A reader of the answer to a request of this kind."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_PREFIX_BYTES)
    reader.send(h11.Request(method=method, target="/", headers=[("host", "")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(answer)
    return reader


def _skip_interim(reader: h11.Connection) -> object:
    """The first event behind interim answers."""
    event = reader.next_event()
    while isinstance(event, h11.InformationalResponse):
        event = reader.next_event()
    return event


def _nothing() -> None:
    """For a connection that holds no place."""
