"""Runs one exchange with httpx and httpcore, and turns every error of these libraries into HttpFailed.

httpx builds requests, httpcore sends them. httpx's own client is not used: it interprets more of an answer than is
needed here (redirects, cookies, encodings without a limit), and raises many kinds of errors about that.
"""

import logging
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Never, Self

import httpcore
import httpx
import trio

from aintandem_notify import __version__
from aintandem_notify.config import Outbound
from aintandem_notify.config.types.outbound import MAX_PORT, basic, credentials_of
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client.answer import HttpAnswer, WaitForMemory
from aintandem_notify.http_client.backend import MonitoredStream, StaleConnection
from aintandem_notify.http_client.error_texts import describe
from aintandem_notify.http_client.pools import ConnectionPool
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

FORCED_HEADERS: Final = {"accept-encoding": "identity"}
DEFAULT_HEADERS: Final = {
    "accept": "*/*",
    "connection": "keep-alive",
    "user-agent": f"aintandem-notify/{__version__}",
}
_UNUSABLE: Final = "this is not a URL that can be used: http:// or https:// and a host are needed"

# Their INFO and DEBUG lines hold whole URLs and headers, secrets included.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(slots=True)
class Exchange:
    """One request, and the parts of its answer that have arrived so far."""

    request: httpx.Request
    content: bytes
    origin: str
    sent: bool = False
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    unpacker: Unpacker = field(default_factory=Unpacker)
    body: bytearray = field(default_factory=bytearray)
    """The part that has arrived, unpacked."""
    is_too_long: bool = False

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

        The request and this object reference each other, so both wait for the garbage collector. It may run late,
        and the body may have megabytes.
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
        # A request that h11 refuses to write has not left, although the trace says that writing began.
        sent = self.sent and not isinstance(error, httpcore.LocalProtocolError)
        return HttpFailed(describe(error, self.origin, sent=sent, answered=self.answered), maybe_sent=sent)

    async def on_trace(self, step: str, facts: Mapping[str, Any]) -> None:
        """httpcore's trace callback. From the first byte of the headers on, the request may have arrived.

        A CONNECT to the proxy does not count.
        """
        if step.endswith(".send_request_headers.started") and facts["request"].method != b"CONNECT":
            self.sent = True


class HttpTransport:
    """Sends the requests of one client over the connections of ``pool``. ``aclose`` it."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    @classmethod
    def new(cls, outbound: Outbound, ca_file: Path | None, max_connections: int) -> Self:
        """A transport with at most ``max_connections`` at a time, together with those that ``share`` makes."""
        return cls(ConnectionPool(outbound, ca_file, HttpSlots(max_connections)))

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
        target = _parse_url(url)
        try:
            own: dict[str, str] = {}
            if target.userinfo:
                own["authorization"] = basic(credentials_of(target.userinfo.decode("ascii")))
            # By lower-case names, each with its spelling: merging them as httpx.Headers takes many times as long.
            fields = {
                str.lower(name): (name, value)
                for group in (DEFAULT_HEADERS, headers, FORCED_HEADERS, own)
                for name, value in group.items()
            }
            request = httpx.Request(method, target, headers=list(fields.values()), content=content)
        except UnicodeError:
            raise HttpFailed("the request cannot be sent: a header is not ASCII") from None
        exchange = Exchange(request, content or b"", _origin(target))
        request.extensions = {"trace": exchange.on_trace}
        return exchange

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
            await self._pool.close_idle(exchange.request.url)
            await self._send(exchange, max_body, room)

    async def _send(self, exchange: Exchange, max_body: int, room: WaitForMemory | None = None) -> None:
        async with aclosing(await self._pool.send(exchange.request, exchange.content)) as reply:
            answer = reply.answer
            exchange.headers = _joined(httpx.Headers(answer.headers))
            exchange.unpacker = Unpacker.for_encoding(exchange.headers.get("content-encoding", ""))
            exchange.status = answer.status
            await _read_body(answer, exchange, max_body, room)
            has_unread_data = not exchange.is_too_long and _has_unread_data(answer, exchange.request.method)
        if has_unread_data:
            # The data would be taken for the answer to the next request.
            await self._pool.close_idle(exchange.request.url)
        if not exchange.is_too_long and not exchange.unpacker.is_complete:
            raise HttpFailed(f"the answer of {exchange.origin} is compressed and damaged")


def _joined(headers: httpx.Headers) -> dict[str, str]:
    """Values by name, in one pass: httpx scans all headers for each name, which takes seconds for thousands."""
    values: dict[str, list[str]] = {}
    for name, value in headers.multi_items():
        values.setdefault(name, []).append(value)
    return {name: ", ".join(repeated) for name, repeated in values.items()}


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
                if room is not None and len(exchange.body) + len(piece) > SMALL_BODY_BYTES:
                    with suppress(trio.Cancelled):
                        await room(size)
                    room = None
                # A chunk may be one byte, and thousands of them lie ready.
                await trio.lowlevel.cancel_shielded_checkpoint()
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


@lru_cache(maxsize=64)
def _parse_url(url: str) -> httpx.URL:
    try:
        target = httpx.URL(url)
        usable = target.scheme in ("http", "https") and bool(target.host) and 0 < (target.port or 80) <= MAX_PORT
    except (httpx.InvalidURL, ValueError):  # UnicodeError, too
        usable = False
    if not usable:
        raise HttpFailed(_UNUSABLE)
    return target


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
