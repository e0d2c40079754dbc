"""The connections under httpcore: dialled with ``tcp_connect``, counted, and checked before they are reused."""

import re
import ssl
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial
from typing import Any, Final, cast

import h11
import httpcore
import trio

from aintandem_notify.config import Outbound
from aintandem_notify.http_client.slots import HttpSlots
from aintandem_notify.http_client.tcp_connect import connect, describe_os_error

MAX_READ_BYTES: Final = 16384
"""Bytes that are read at a time, so that other tasks run in between. A few thousand tiny chunks or interim answers
fit into them."""
MAX_PREFIX_BYTES: Final = 16384
"""Bytes at the beginning of an answer that are parsed to find its end; interim answers may not take more."""

_FINAL_STATUS_LINE: Final = re.compile(rb"HTTP/1\.\d [2-9]")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*(?=\r\n|$)")

_LOST: Final = (trio.BrokenResourceError, trio.ClosedResourceError)

SocketOptions = Iterable[httpcore.SOCKET_OPTION]


class StaleConnection(httpcore.ReadError):
    """A reused connection was closed before the first byte of the answer."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """httpcore's way to the network: dials with ``connect`` and takes one of ``slots`` for each connection.

    httpcore's own way to trio's sockets sets up a time limit for each read and write; a request has one for all.

    The connections are counted here and not in httpcore's pool. The pool counts them from the DNS look-up on, so
    names that hang would take the slots of all others.
    """

    def __init__(self, outbound: Outbound, slots: HttpSlots) -> None:
        self._outbound = outbound
        self._slots = slots

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  # never given: the request has a time limit
        local_address: str | None = None,  # noqa: ARG002  # never given
        socket_options: SocketOptions | None = None,  # noqa: ARG002  # never given
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that accepts one; raises HttpFailed."""
        return await connect(host, port, partial(self._dial, port=port), self._outbound)

    async def _dial(self, address: str, port: int) -> "MonitoredStream":
        slot = object()
        await self._slots.acquire(slot)
        release = partial(self._slots.release, slot)
        with ExitStack() as release_on_failure:
            release_on_failure.callback(release)
            try:
                stream = await trio.open_tcp_stream(address, port)
            except OSError as error:
                raise OSError(describe_os_error(error)) from error
            release_on_failure.pop_all()
        return MonitoredStream(stream, release)


class MonitoredStream(httpcore.AsyncNetworkStream):
    """trio's stream for httpcore, with checks for stale connections and unread data.

    ``release`` is called when it is closed. A cancelled TLS handshake closes it, too; httpcore would leave it
    open.
    """

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[Any], release: Callable[[], None]) -> None:
        self._stream = stream
        self._release: Callable[[], None] | None = release
        self._is_reused = False
        """True if the current request is not the first on this connection."""
        self._received = 0
        """Bytes since the current request began."""
        self._prefix = bytearray()
        """The first ``MAX_PREFIX_BYTES`` of them."""
        self._unsent = bytearray()
        """The parts of a request, until its answer is read: head and body go out in one write."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        if self._unsent:
            request, self._unsent = bytes(self._unsent), bytearray()
            # The server may have answered before it had read everything, and closed the connection.
            with suppress(*_LOST):
                await self._stream.send_all(request)
        try:
            arrived = bytes(await self._stream.receive_some(min(max_bytes, MAX_READ_BYTES)))
        except _LOST as error:
            self._raise_if_stale()
            raise httpcore.ReadError(str(error)) from error
        if not arrived:
            self._raise_if_stale()
        self._received += len(arrived)
        missing = MAX_PREFIX_BYTES - len(self._prefix)
        self._prefix += arrived[:missing]
        if 0 < missing <= len(arrived) and _is_only_interim(bytes(self._prefix)):
            raise httpcore.RemoteProtocolError("interim answers without end")
        return arrived

    def has_unread_data(self, method: str) -> bool:
        """True if bytes came after the end of the answer; they belong to no request.

        Also true if that cannot be known, as after very long chunks.
        """
        prefix = bytes(self._prefix)
        if method != "HEAD" and _is_one_plain_answer(prefix, self._received):
            return self._has_tls_data()
        return _has_trailing_data(method, prefix, self._received) or self._has_tls_data()

    def _has_tls_data(self) -> bool:
        """True if the TLS layer has buffered data or the stream's end, which the socket does not show any more."""
        secured = self.get_extra_info("ssl_object")
        try:
            return secured is not None and secured.read(1) is not None
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            return True

    def _raise_if_stale(self) -> None:
        if self._is_reused and not self._received:
            raise StaleConnection("a reused connection was closed") from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  # it never waits
        if self._received:
            self._is_reused, self._received = True, 0
            self._prefix.clear()
        self._unsent += buffer

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            release, self._release = self._release, None
            if release is not None:
                release()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        secured = trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        async with AsyncExitStack() as close_on_failure:
            close_on_failure.push_async_callback(self.aclose)
            try:
                await secured.do_handshake()
            except trio.BrokenResourceError as error:
                raise httpcore.ConnectError(str(error)) from error
            close_on_failure.pop_all()
        # The TLS stream closes the stream under it.
        release, self._release = self._release, None
        return MonitoredStream(secured, release or _release_nothing)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object" and isinstance(self._stream, trio.SSLStream):
            return self._stream._ssl_object  # noqa: SLF001  # trio has no public name for it (its issue 542)
        if info == "is_readable":
            return self._socket.is_readable()
        return None

    @property
    def _socket(self) -> trio.socket.SocketType:
        stream: Any = self._stream
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        return cast("trio.SocketStream", stream).socket


def _is_one_plain_answer(prefix: bytes, received: int) -> bool:
    """True if the ``received`` bytes, beginning with ``prefix``, are certainly one answer, as nearly always.

    Faster than to parse them again. False if they need to be parsed.
    """
    head, separator, _ = prefix.partition(b"\r\n\r\n")
    if not separator or not _FINAL_STATUS_LINE.match(head) or head.count(b"\n") != head.count(b"\r\n"):
        return False
    fields = head.lower()
    lengths = _LENGTH.findall(fields)
    if b"transfer-encoding" in fields or len(lengths) != fields.count(b"content-length"):
        return False
    if fields[9:12] in (b"204", b"304"):
        return not lengths and received == len(head) + len(separator)
    return len(lengths) == 1 and received == len(head) + len(separator) + int(lengths[0])


def _has_trailing_data(method: str, prefix: bytes, received: int) -> bool:
    """True if ``received`` bytes, beginning with ``prefix``, are more than one answer, or if it is not known."""
    reader = _answer_parser(method, prefix)
    event = _skip_interim(reader)
    if not isinstance(event, h11.Response):
        return True
    head = len(prefix) - len(reader.trailing_data[0])
    fields = dict(event.headers)
    while isinstance(event, h11.Response | h11.Data):
        event = reader.next_event()
    if isinstance(event, h11.EndOfMessage):
        return received > len(prefix) or bool(reader.trailing_data[0])
    return received != head + int(fields.get(b"content-length", -1))


def _is_only_interim(prefix: bytes) -> bool:
    """True if the first bytes of an answer hold only interim answers (status 1xx).

    A server that sends them without end would take all the time of the event loop.
    """
    if _FINAL_STATUS_LINE.match(prefix):
        return False
    reader = _answer_parser("GET", prefix)
    try:
        return _skip_interim(reader) is h11.NEED_DATA and not _FINAL_STATUS_LINE.match(reader.trailing_data[0])
    except h11.RemoteProtocolError:  # httpcore raises the error when it reads the answer
        return False


def _answer_parser(method: str, answer: bytes) -> h11.Connection:
    """An h11 parser that has received ``answer`` to a request with this method."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_PREFIX_BYTES)
    reader.send(h11.Request(method=method, target="/", headers=[("host", "")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(answer)
    return reader


def _skip_interim(reader: h11.Connection) -> object:
    """The first event after interim answers."""
    event = reader.next_event()
    while isinstance(event, h11.InformationalResponse):
        event = reader.next_event()
    return event


def _release_nothing() -> None:
    """Does nothing, for a connection that holds no slot."""
