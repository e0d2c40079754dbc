"""Where httpx and httpcore live: connections, one exchange at a time, and their errors in our words.

httpx builds requests; httpcore's pool is used through a transport of ours, because only there can the addresses
be checked after resolution and a TLS context wait until somebody needs it.
"""

import logging
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final, Self

import httpcore
import httpx
import trio

from aintandem_notify import __version__
from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client.answer import HttpAnswer
from aintandem_notify.http_client.dialling import GuardedBackend
from aintandem_notify.http_client.tls import tls_context

MAX_CONNECTIONS: Final = 100
"""At one time, over all servers; well under the usual 1,024 descriptors beside a thousand links' sockets."""
MAX_IDLE_CONNECTIONS: Final = 20
IDLE_EXPIRY: Final = 5.0
"""Seconds; what servers at least keep an idle connection for (Apache's default), so that few are found cut."""
CLOSING_TIME: Final = 1.0
"""Seconds that closing the pool may take, also when everything around it is cancelled."""
MAX_PORT: Final = 65535

FORCED_HEADERS: Final = {"accept-encoding": "identity"}
_UNUSABLE: Final = "is not a URL that can be used: http:// or https:// and a host are needed"
_LIBRARY_ERRORS: Final = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)

# How httpcore and h11 say that the connection ended too early; they have one class for this and for nonsense.
_CUT_OFF: Final = ("disconnected", "peer closed")

# They write whole URLs and headers, secrets included, into their INFO and DEBUG lines.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(slots=True)
class Attempt:
    """One request on its way, and what is known about it when something ends it."""

    request: httpx.Request
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
        """What came, as an answer."""
        return HttpAnswer(self.status, self.headers, bytes(self.body), truncated or self.overlong)

    def describe_delay(self, timeout: float) -> str:
        """The sentence for a deadline that passed."""
        if self.answered:
            return f"the answer of {self.origin} did not end within {timeout:g} s"
        if self.sent:
            return f"{self.origin} did not answer within {timeout:g} s"
        return f"no connection to {self.origin} within {timeout:g} s"

    async def note(self, step: str, facts: Mapping[str, Any]) -> None:
        """httpcore's trace: from the first byte of the headers on, the request may have arrived.

        The CONNECT that opens a way through a proxy is not the request yet.
        """
        if step.endswith(".send_request_headers.started") and facts["request"].method != b"CONNECT":
            self.sent = True


class Door:
    """The connections of one client. ``aclose`` it."""

    def __init__(self, proxy: str | None, ca_file: Path | None) -> None:
        self._transport = _Transport(proxy, ca_file)
        self._client = httpx.AsyncClient(
            transport=self._transport,
            # A cookie that one plugin's server sets is nothing for the next request to the same server.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            headers={"user-agent": f"aintandem-notify/{__version__}"} | FORCED_HEADERS,
            timeout=None,  # noqa: S113  # each request has a deadline of trio's
            follow_redirects=False,
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close every connection, whatever is cancelled around."""
        with trio.move_on_after(CLOSING_TIME, shield=True):
            await self._client.aclose()

    def attempt(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Attempt:
        """The request to be sent; raises HttpFailed for a URL or a header that cannot be sent."""
        try:
            target = httpx.URL(url)
            request = self._client.build_request(method, target, headers=dict(headers), content=content)
        except httpx.InvalidURL:
            raise HttpFailed(f"this {_UNUSABLE}") from None
        except UnicodeError:
            raise HttpFailed("the request cannot be sent: a header is not ASCII") from None
        if not _is_usable(target):
            raise HttpFailed(f"this {_UNUSABLE}")
        request.headers.update(FORCED_HEADERS)
        attempt = Attempt(request, f"{target.scheme}://{target.netloc.decode('ascii', 'replace')}")
        request.extensions = {**request.extensions, "trace": attempt.note}
        return attempt

    async def exchange(self, attempt: Attempt, max_body: int) -> None:
        """Send it and read the answer into ``attempt``, at most ``max_body`` bytes of the body.

        Raises HttpFailed; has no deadline of its own.
        """
        try:
            response = await self._client.send(attempt.request, stream=True)
            async with aclosing(response):
                attempt.headers = dict(response.headers)
                attempt.status = response.status_code
                await _read_body(response, attempt, max_body)
        except _LIBRARY_ERRORS as error:
            # Without its cause: the libraries' own words hold header values and pieces of URLs.
            # What h11 refuses to write has not left, although the trace says that writing began.
            maybe_sent = attempt.sent and not isinstance(error, httpcore.LocalProtocolError)
            raise HttpFailed(_describe(error, attempt), maybe_sent=maybe_sent) from None


async def _read_body(response: httpx.Response, attempt: Attempt, max_body: int) -> None:
    """Read on until the end, or stop beyond ``max_body``.

    Leaving the loop would leave the libraries' generators to the garbage collector, of which trio complains.
    Cancelled, they end by themselves as soon as they would wait for more, and hang up.
    """
    with trio.CancelScope() as reading:
        async for chunk in response.aiter_raw():
            attempt.body += chunk[: max_body - len(attempt.body) + 1]
            if len(attempt.body) > max_body:
                attempt.overlong = True
                reading.cancel()
    del attempt.body[max_body:]


class _Transport(httpx.AsyncBaseTransport):
    """httpcore's pools under httpx's client: one for each scheme, made when it is first needed."""

    def __init__(self, proxy: str | None, ca_file: Path | None) -> None:
        self._proxy = proxy
        self._ca_file = ca_file
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        scheme = request.url.scheme
        if scheme not in self._pools:
            self._pools[scheme] = _pool(scheme, self._proxy, self._ca_file)
        answer = await self._pools[scheme].handle_async_request(
            httpcore.Request(
                method=request.method,
                url=_core_url(request.url),
                headers=request.headers.raw,
                content=_Content(request.content),
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


class _Content:
    """A request's body. The libraries' is a generator: if its request is cancelled while it is sent, it is left to
    the garbage collector, of which trio complains.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class _Once:
    """Gives one piece."""

    def __init__(self, piece: bytes) -> None:
        self._left = [piece]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._answer.aiter_stream()

    async def aclose(self) -> None:
        await self._answer.aclose()


def _pool(scheme: str, proxy: str | None, ca_file: Path | None) -> httpcore.AsyncConnectionPool:
    options: dict[str, Any] = {
        # Plain HTTP goes without the 20 ms and more that reading the certificates takes.
        "ssl_context": _trusted(ca_file) if scheme == "https" else None,
        "max_connections": MAX_CONNECTIONS,
        "max_keepalive_connections": MAX_IDLE_CONNECTIONS,
        "keepalive_expiry": IDLE_EXPIRY,
        "network_backend": GuardedBackend(),
    }
    if proxy is None:
        return httpcore.AsyncConnectionPool(**options)
    url = _proxy_url(proxy)
    if url.scheme == "https":
        options["proxy_ssl_context"] = _trusted(ca_file)
    credentials = (url.username, url.password) if url.username or url.password else None
    return httpcore.AsyncHTTPProxy(_core_url(url), proxy_auth=credentials, **options)


def _proxy_url(proxy: str) -> httpx.URL:
    try:
        url = httpx.URL(proxy)
    except httpx.InvalidURL:
        raise HttpFailed(f"the proxy {_UNUSABLE}") from None
    if not _is_usable(url):
        raise HttpFailed(f"the proxy {_UNUSABLE}")
    return url


def _is_usable(url: httpx.URL) -> bool:
    return url.scheme in ("http", "https") and bool(url.host) and 0 < (url.port or 80) <= MAX_PORT


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _trusted(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return tls_context(ca_file)
    except OSError as error:
        reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise HttpFailed(f"cannot use the CA file {ca_file}: {reason}") from None


def _describe(error: Exception, attempt: Attempt) -> str:
    """The libraries' error as a sentence without anything that may be secret."""
    origin = attempt.origin
    match error:
        case httpcore.LocalProtocolError():
            return "the request cannot be sent: a header holds what HTTP does not allow"
        case httpcore.ProxyError():
            return f"the proxy opened no way to {origin}: {error}"
        case httpcore.ConnectError():
            return f"TLS with {origin} failed: {_tls_reason(error)}"
        case httpcore.RemoteProtocolError() if not any(word in str(error) for word in _CUT_OFF):
            return f"{origin} answered with something that is not HTTP"
        case _ if attempt.answered:
            return f"{origin} closed the connection in the middle of its answer"
        case _:
            return f"{origin} closed the connection without an answer"


def _tls_reason(error: BaseException) -> str:
    """What the TLS library says, ``certificate verify failed: self-signed certificate``."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate verify failed: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.replace("_", " ").lower()
    return "the connection was closed"


def _causes(error: BaseException) -> Iterable[BaseException]:
    """The error and what led to it, the nearest first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
