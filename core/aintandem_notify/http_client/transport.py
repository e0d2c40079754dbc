"""The one door to httpx and httpcore: one exchange at a time, and whatever the libraries raise in our words.

httpx builds requests, httpcore sends them. httpx's own client is left out: it reads more of an answer than anybody
here wants (where a redirect leads, cookies, encodings), and raises what it likes about that.
"""

import logging
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpcore
import httpx
import trio

from aintandem_notify import __version__
from aintandem_notify.config import Outbound
from aintandem_notify.config.types.outbound import MAX_PORT, basic, credentials_of
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client.answer import HttpAnswer, Room
from aintandem_notify.http_client.backend import MonitoredStream, StaleConnection
from aintandem_notify.http_client.error_texts import describe
from aintandem_notify.http_client.pools import Pools

CLOSE_TIMEOUT_S: Final = 1.0
"""Seconds that closing the pool may take, also when everything around it is cancelled."""

_TOO_MANY_DIGITS: Final = 19
"""Digits of no length."""
SMALL_BODY_BYTES: Final = 2**18
"""Bytes of an answer that are read without asking for room; nearly all answers have less."""

FORCED_HEADERS: Final = {"accept-encoding": "identity"}
DEFAULT_HEADERS: Final = {
    "accept": "*/*",
    "connection": "keep-alive",
    "user-agent": f"aintandem-notify/{__version__}",
}
_UNUSABLE: Final = "this is not a URL that can be used: http:// or https:// and a host are needed"

# They write whole URLs and headers, secrets included, into their INFO and DEBUG lines.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(slots=True)
class Exchange:
    """One request on its way, and what is known about it when something ends it."""

    request: httpx.Request
    content: bytes
    origin: str
    sent: bool = False
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    overlong: bool = False

    @property
    def answered(self) -> bool:
        """Whether the status and all headers have come."""
        return self.status != 0

    def answer(self, *, truncated: bool = False) -> HttpAnswer:
        """What came, as an answer; given once."""
        body = bytes(self.body)
        self.drop()
        return HttpAnswer(self.status, self.headers, body, truncated or self.overlong)

    def drop(self) -> None:
        """Nobody wants the body. The request and this know each other, so both stay until the garbage collector
        comes, which is late for megabytes.
        """
        self.body = bytearray()

    def describe_delay(self, timeout: float) -> str:
        """The sentence for a deadline that passed."""
        if self.answered:
            return f"the answer of {self.origin} did not end within {timeout:g} s"
        if self.sent:
            return f"{self.origin} did not answer within {timeout:g} s"
        return f"no connection to {self.origin} within {timeout:g} s"

    def failed(self, error: Exception) -> HttpFailed:
        """The error for whoever asked."""
        if isinstance(error, HttpFailed):
            return HttpFailed(error.reason, maybe_sent=error.maybe_sent or self.sent)
        # What h11 refuses to write has not left, although the trace says that writing began.
        sent = self.sent and not isinstance(error, httpcore.LocalProtocolError)
        return HttpFailed(describe(error, self.origin, sent=sent, answered=self.answered), maybe_sent=sent)

    async def note(self, step: str, facts: Mapping[str, Any]) -> None:
        """httpcore's trace: from the first byte of the headers on, the request may have arrived.

        The CONNECT that opens a way through a proxy is not the request yet.
        """
        if step.endswith(".send_request_headers.started") and facts["request"].method != b"CONNECT":
            self.sent = True


class HttpTransport:
    """The connections of one client, at most ``most`` at a time. ``aclose`` it."""

    def __init__(self, outbound: Outbound, ca_file: Path | None, most: int) -> None:
        self._pools = Pools(outbound, ca_file, most)

    async def aclose(self) -> None:
        """Close every connection, whatever is cancelled around."""
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await self._pools.aclose()

    def attempt(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Exchange:
        """The request to be sent; raises HttpFailed for a URL or a header that cannot be sent.

        TypeError for what is no text is the caller's.
        """
        target = _parse_url(url)
        try:
            fields = httpx.Headers(DEFAULT_HEADERS)
            fields.update(dict(headers))
            fields.update(FORCED_HEADERS)
            if target.userinfo:
                fields["authorization"] = basic(credentials_of(target.userinfo.decode("ascii")))
            request = httpx.Request(method, target, headers=fields, content=content)
        except UnicodeError:
            raise HttpFailed("the request cannot be sent: a header is not ASCII") from None
        attempt = Exchange(request, content or b"", _origin(target))
        request.extensions = {"trace": attempt.note}
        return attempt

    async def exchange(self, attempt: Exchange, max_body: int, room: Room | None = None) -> None:
        """Send it and read the answer into ``attempt``, at most ``max_body`` bytes of the body.

        ``room`` is waited for, once, before more than ``SMALL_BODY_BYTES`` of them are read. Raises HttpFailed;
        has no deadline of its own.
        """
        try:
            await self._exchange(attempt, max_body, room)
        except Exception as error:  # noqa: BLE001  # the border to the HTTP libraries, which raise what they like
            # Without its cause: the libraries' own words hold header values and pieces of URLs.
            raise attempt.failed(error) from None

    async def _exchange(self, attempt: Exchange, max_body: int, room: Room | None = None) -> None:
        try:
            await self._send(attempt, max_body, room)
        except StaleConnection:
            # The server closed it while the request was on its way, as each may with one that was idle, and is
            # not to blame. Other idle ones are as old: the second try gets a connection of its own.
            await self._pools.close_idle(attempt.request.url)
            await self._send(attempt, max_body, room)

    async def _send(self, attempt: Exchange, max_body: int, room: Room | None = None) -> None:
        async with aclosing(await self._pools.send(attempt.request, attempt.content)) as answer:
            attempt.headers = _joined(httpx.Headers(answer.headers))
            attempt.status = answer.status
            await _read_body(answer, attempt, max_body, room)
            has_rest = not attempt.overlong and _has_unread_data(answer, attempt.request.method)
        if has_rest:
            # It would be taken for the answer to the next request.
            await self._pools.close_idle(attempt.request.url)


def _joined(headers: httpx.Headers) -> dict[str, str]:
    """By name, in one pass: httpx looks through all of them for each, and of thousands for many seconds."""
    values: dict[str, list[str]] = {}
    for name, value in headers.multi_items():
        values.setdefault(name, []).append(value)
    return {name: ", ".join(several) for name, several in values.items()}


def _has_unread_data(answer: httpcore.Response, method: str) -> bool:
    """Whether bytes come behind the answer: more than it announced, or the body of a 204."""
    stream = answer.extensions.get("network_stream")
    return isinstance(stream, MonitoredStream) and stream.holds_rest(method)


async def _read_body(
    answer: httpcore.Response, attempt: Exchange, max_body: int, room: Room | None = None
) -> None:
    """Read on until the end, or stop beyond ``max_body``.

    Leaving the loop would leave the libraries' generators to the garbage collector, of which trio complains.
    Cancelled, they end by themselves as soon as they would wait for more, and hang up; so nothing else in the loop
    may be what is cancelled.
    """
    announced = attempt.headers.get("content-length", "")
    size = (
        min(max_body, int(announced)) if announced.isdecimal() and len(announced) < _TOO_MANY_DIGITS else max_body
    )
    with trio.CancelScope() as reading:
        async for chunk in answer.aiter_stream():
            if room is not None and len(attempt.body) + len(chunk) > SMALL_BODY_BYTES:
                with suppress(trio.Cancelled):
                    await room(size)
                room = None
            await (
                trio.lowlevel.cancel_shielded_checkpoint()
            )  # a chunk may be one byte, and thousands of them lie ready
            attempt.body += chunk[: max_body - len(attempt.body) + 1]
            if len(attempt.body) > max_body:
                attempt.overlong = True
                reading.cancel()
    await trio.lowlevel.checkpoint_if_cancelled()
    del attempt.body[max_body:]


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
