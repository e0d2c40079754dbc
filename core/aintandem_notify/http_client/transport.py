"""Runs one exchange with httpx and httpcore, and turns every error of these libraries into HttpFailed.

httpx builds requests, httpcore sends them. httpx's own client is not used: it interprets more of an answer than is
needed here (redirects, cookies, encodings without a limit), and raises many kinds of errors about that.
"""

import logging
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Never, Self

import httpcore
import httpx
import trio

from aintandem_notify.config import Outbound
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client.answer import HttpAnswer, WaitForMemory
from aintandem_notify.http_client.backend import MonitoredStream, StaleConnection
from aintandem_notify.http_client.pools import ConnectionPool, Connector
from aintandem_notify.http_client.request import Body, Target, build_request, parse_target
from aintandem_notify.http_client.slots import HttpSlots
from aintandem_notify.http_client.unpacking import Unpacker

CLOSE_TIMEOUT_S: Final = 1.0
"""Seconds that closing the pools may take, also inside a cancelled scope."""

_TOO_MANY_DIGITS: Final = 19
"""A ``Content-Length`` with so many digits or more is ignored."""
SMALL_BODY_BYTES: Final = 2**18
"""Bytes of a body that are read without waiting for memory; nearly all answers have less."""
MAX_PACKED_SHARE: Final = 2
"""Bytes of a compressed body that are read for each byte of ``max_body``."""

# Words of httpcore and h11 for a connection that ended too early; invalid HTTP raises the same class.
_CUT_OFF: Final = ("disconnected", "peer closed")
# h11's for a head that is longer than httpcore allows, which is 100 KB.
_TOO_LONG: Final = "buffer too long"

# Their INFO and DEBUG lines hold whole URLs and headers, secrets included.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(slots=True)
class Exchange:
    """One request, and the parts of its answer that have arrived so far."""

    request: httpx.Request
    target: Target
    sent_body: Body
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    unpacker: Unpacker = field(default_factory=Unpacker)
    body: bytearray = field(default_factory=bytearray)
    """The part that has arrived, unpacked."""
    is_too_long: bool = False

    @property
    def origin(self) -> str:
        """Scheme, host and port of the server, for messages."""
        return self.target.origin

    @property
    def sent(self) -> bool:
        """True if the request may have arrived. A CONNECT to the proxy does not count."""
        return self.sent_body.is_taken

    @property
    def answered(self) -> bool:
        """True once the status and all headers have arrived."""
        return self.status != 0

    def answer(self, *, truncated: bool = False) -> HttpAnswer:
        """The answer, as far as it has arrived. Call it once: it frees the body."""
        body = bytes(self.body)
        self.free_body()
        headers = dict(self.headers)
        if self.unpacker.has_unpacked:
            del headers["content-encoding"]
        return HttpAnswer(self.status, headers, body, truncated or self.is_too_long)

    def free_body(self) -> None:
        """Free the memory of the body.

        The traceback of an error holds this object, and the body may have megabytes.
        """
        self.body = bytearray()

    def describe_delay(self, timeout: float) -> str:
        """The sentence for an exchange that exceeded its timeout."""
        if self.answered:
            return f"the answer of {self.origin} did not end within {timeout:g} s"
        if self.sent:
            return f"{self.origin} did not answer within {timeout:g} s"
        return f"no connection to {self.origin} within {timeout:g} s"

    def to_error(self, error: Exception) -> HttpFailed:
        """The error for the caller of the client."""
        if isinstance(error, HttpFailed):
            return HttpFailed(error.reason, maybe_sent=error.maybe_sent or self.sent)
        # A request that h11 refuses to write has not left, although its body was asked for.
        sent = self.sent and not isinstance(error, httpcore.LocalProtocolError)
        return HttpFailed(_describe(error, self.origin, sent=sent, answered=self.answered), maybe_sent=sent)


class HttpTransport:
    """Sends the requests of one client over the connections of ``pool``. ``aclose`` it."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    @classmethod
    def new(cls, outbound: Outbound, ca_file: Path | None, max_connections: int, idle_expiry_s: float) -> Self:
        """A transport with at most ``max_connections`` at a time, together with those that ``share`` makes."""
        connector = Connector(outbound, ca_file, HttpSlots(max_connections), idle_expiry_s)
        return cls(ConnectionPool(connector))

    def share(self) -> "HttpTransport":
        """A transport with connections of its own, and with the same settings and limit."""
        return HttpTransport(self._pool.share())

    async def close_expired_forever(self) -> Never:
        """Close connections that have been idle for too long, as soon as they have."""
        await self._pool.close_expired_forever()

    async def aclose(self) -> None:
        """Close every connection, also inside a cancelled scope."""
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await self._pool.aclose()

    def prepare(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Exchange:
        """The exchange for a request. Raises HttpFailed for a URL or a header that cannot be sent.

        Raises TypeError if one of them is not a str.
        """
        target, body = parse_target(url), Body(content or b"")
        return Exchange(build_request(method, target, headers, body), target, body)

    async def run(self, exchange: Exchange, max_body: int, room: WaitForMemory | None = None) -> None:
        """Send the request and read the answer into ``exchange``, at most ``max_body`` bytes of the body.

        ``room`` is called and waited for, once, before more than ``SMALL_BODY_BYTES`` of them are read. Raises
        HttpFailed; has no deadline of its own.
        """
        try:
            await self._send_again_if_stale(exchange, max_body, room)
        except Exception as error:  # noqa: BLE001  # the border to the HTTP libraries, which raise many kinds
            # Without its cause: the libraries' texts hold header values and pieces of URLs.
            raise exchange.to_error(error) from None

    async def _send_again_if_stale(
        self, exchange: Exchange, max_body: int, room: WaitForMemory | None = None
    ) -> None:
        try:
            await self._send(exchange, max_body, room)
        except StaleConnection:
            # The server closed the idle connection while the request was on its way, as it may. The other idle
            # connections are as old: the second try opens a new one.
            await self._pool.close_idle(exchange.target)
            await self._send(exchange, max_body, room)

    async def _send(self, exchange: Exchange, max_body: int, room: WaitForMemory | None = None) -> None:
        async with aclosing(await self._pool.send(exchange.request, exchange.target)) as reply:
            answer = reply.answer
            exchange.headers = _joined(answer.headers)
            exchange.unpacker = Unpacker.for_encoding(exchange.headers.get("content-encoding", ""))
            exchange.status = answer.status
            await _read_body(answer, exchange, max_body, room)
            has_unread_data = not exchange.is_too_long and _has_unread_data(answer, exchange.request.method)
        if has_unread_data:
            # The data would be taken for the answer to the next request.
            await self._pool.close_idle(exchange.target)
        if not exchange.is_too_long and not exchange.unpacker.is_complete:
            raise HttpFailed(f"the answer of {exchange.origin} is compressed and damaged")


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Values by name, in one pass: httpx scans all headers for each name, which takes seconds for thousands."""
    values: dict[str, list[str]] = {}
    for name, value in _decoded(headers):
        values.setdefault(name, []).append(value)
    return {name: ", ".join(repeated) for name, repeated in values.items()}


def _decoded(headers: Sequence[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    """The headers with lower-case names; nearly all are ASCII, and httpx tries other encodings for the rest."""
    if all(name.isascii() and value.isascii() for name, value in headers):
        return [(name.decode("ascii").lower(), value.decode("ascii")) for name, value in headers]
    return httpx.Headers(headers).multi_items()


def _has_unread_data(answer: httpcore.Response, method: str) -> bool:
    """True if bytes follow the end of the answer: more than it announced, or a body after a 204."""
    stream = answer.extensions.get("network_stream")
    return isinstance(stream, MonitoredStream) and stream.has_unread_data(method)


async def _read_body(
    answer: httpcore.Response, exchange: Exchange, max_body: int, room: WaitForMemory | None = None
) -> None:
    """Read the body to its end, or to ``max_body``, and unpack it.

    Breaking out of the outer loop would leave the libraries' generators to the garbage collector, and trio warns
    about that. Cancelled, the generators end by themselves at their next wait, and close the connection. So no
    other wait in the loop may be the one that is cancelled.
    """
    size, arrived = _expected_size(exchange, max_body), 0
    with trio.CancelScope() as reading:
        async for chunk in answer.aiter_stream():
            arrived += len(chunk)
            for piece in exchange.unpacker.feed(chunk):
                # A chunk may be one byte, and thousands of them lie ready.
                if exchange.body:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                if room is not None and len(exchange.body) + len(piece) > SMALL_BODY_BYTES:
                    with suppress(trio.Cancelled):
                        await room(size)
                    room = None
                exchange.body += piece[: max_body - len(exchange.body) + 1]
                # Compressed data can go on for ever without any plain byte.
                if len(exchange.body) > max_body or arrived > MAX_PACKED_SHARE * max_body:
                    exchange.is_too_long = True
                    reading.cancel()
                    break
    await trio.lowlevel.checkpoint_if_cancelled()
    for piece in () if exchange.is_too_long else exchange.unpacker.finish():
        exchange.body += piece[: max_body - len(exchange.body) + 1]
        exchange.is_too_long = len(exchange.body) > max_body
        if exchange.is_too_long:
            break
    del exchange.body[max_body:]


def _expected_size(exchange: Exchange, max_body: int) -> int:
    """Bytes of the body as far as they are announced; a compressed body may have any number."""
    announced = exchange.headers.get("content-length", "")
    if exchange.unpacker.expects_packed or not announced.isdecimal() or len(announced) >= _TOO_MANY_DIGITS:
        return max_body
    return min(max_body, int(announced))


def _describe(error: Exception, origin: str, *, sent: bool, answered: bool) -> str:
    """The reason why a request to ``origin`` has no answer. An unknown error is named by its class.

    The libraries' texts hold header values and pieces of URLs, so none of them is repeated.
    """
    match error:
        case httpcore.LocalProtocolError():
            return "the request cannot be sent: a header is not valid in HTTP"
        case httpcore.ProxyError():
            return f"the proxy refused to connect to {origin}{_proxy_status(error)}"
        case httpcore.ConnectError():
            return f"TLS with {origin} failed: {_tls_reason(error)}"
        case httpcore.RemoteProtocolError() if _TOO_LONG in str(error).lower():
            return f"{origin} answered with more than 100 KB of headers"
        case httpcore.RemoteProtocolError() if not any(word in str(error) for word in _CUT_OFF):
            return f"{origin} answered with something that is not HTTP"
        case httpcore.NetworkError() | httpcore.TimeoutException() | httpcore.RemoteProtocolError():
            manner = "in the middle of its answer" if answered else "without an answer"
            return f"{origin} closed the connection {manner}"
        case _ if sent:
            return f"the answer of {origin} cannot be read ({type(error).__name__})"
        case _:
            return f"the request to {origin} cannot be sent ({type(error).__name__})"


def _proxy_status(error: httpcore.ProxyError) -> str:
    """The status in brackets, without the proxy's own text."""
    status = str(error).partition(" ")[0]
    return f" (HTTP {status})" if status.isdecimal() else ""


def _tls_reason(error: BaseException) -> str:
    """The TLS library's text: ``certificate verify failed: self-signed certificate``."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate verify failed: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.replace("_", " ").lower()
    return "the connection was closed"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
