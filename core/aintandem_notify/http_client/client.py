"""The client that the agent and its plugins share."""

import json as json_lib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, Unpack

import trio

from aintandem_notify.config import ConnectionConfig, Outbound
from aintandem_notify.errors import HttpFailed
from aintandem_notify.foundation.open_files import MAX_HTTP_CONNECTIONS
from aintandem_notify.http_client.answer import HttpAnswer, WaitForMemory

if TYPE_CHECKING:
    from aintandem_notify.http_client.transport import HttpTransport

IDLE_EXPIRY_S: Final = 1.5
"""Seconds that an unused connection is kept; shorter than in common servers, so that few are found closed:
gunicorn closes them after 2 s; Apache, Node.js, uvicorn and hypercorn after 5 s."""
MAX_BODY: Final = 65536
"""Bytes of an answer that are read unless a caller asks for more."""


class RequestOptions(TypedDict, total=False):
    """The keyword arguments of ``HttpClient.request``, for ``get`` and ``post``."""

    headers: Mapping[str, str] | None
    json: Any
    content: bytes | None
    timeout: float
    max_body: int
    need_body: bool
    room: "WaitForMemory | None"


class HttpClient:
    """Sends requests, each with one deadline and a bounded answer. Ignores environment variables.

    An async context manager; use it only inside of its block. It follows no redirect and keeps no cookie. Answers
    are requested without compression, and unpacked if they have one (gzip, deflate). TLS trusts the bundled public
    authorities and those in ``ca_file`` (PEM).

    Addresses of clouds' metadata services are refused unless ``allow_addresses`` holds them. The check is made on
    the address that is dialled. With ``proxy`` (``http://`` or ``https://``, percent-encoded credentials in the
    URL) that is the proxy's address; its targets are not checked. ``no_proxy`` names the hosts that are dialled
    directly. All three are as in ``[connection]`` of the config.

    A connection that was not used for ``idle_expiry_s`` seconds is used no more.
    """

    def __init__(
        self,
        proxy: str | None = None,
        ca_file: Path | None = None,
        *,
        no_proxy: Sequence[str] = (),
        allow_addresses: Sequence[str] = (),
        connections: int = MAX_HTTP_CONNECTIONS,
        idle_expiry_s: float = IDLE_EXPIRY_S,
    ) -> None:
        self._proxy = proxy
        self._ca_file = ca_file
        self._no_proxy = no_proxy
        self._allow_addresses = allow_addresses
        self._connections = connections
        self._idle_expiry_s = idle_expiry_s
        self._new_transport = self._configured_transport
        self._transport: HttpTransport | None = None
        self._open = False

    @classmethod
    def configured(cls, connection: ConnectionConfig, connections: int = MAX_HTTP_CONNECTIONS) -> Self:
        """A client with the settings of ``[connection]`` and at most ``connections`` at a time."""
        return cls(
            connection.proxy_url,
            connection.ca_file,
            no_proxy=connection.no_proxy,
            allow_addresses=connection.allow_addresses,
            connections=connections,
        )

    @asynccontextmanager
    async def own_pool(self) -> AsyncIterator["HttpClient"]:
        """A client with the same settings and connections of its own, which count towards those of this one.

        They are closed soon after their last use, also if no other request follows.
        """
        async with trio.open_nursery() as nursery, HttpClient() as client:

            def share() -> "HttpTransport":
                transport = self._get_transport().share()
                nursery.start_soon(transport.close_expired_forever)
                return transport

            client._new_transport = share
            yield client
            nursery.cancel_scope.cancel()

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        timeout: float = 30.0,
        max_body: int = MAX_BODY,
        need_body: bool = True,
        room: WaitForMemory | None = None,
    ) -> HttpAnswer:
        """The answer, with any status; raises ``HttpFailed`` if there is none.

        ``json`` (not None) is sent as UTF-8 JSON with its content type, ``content`` as it is; give at most one of
        them. Credentials in the URL become Basic authentication.

        ``timeout``: seconds for everything from the DNS look-up to the last byte; a server that sends slowly
        cannot exceed it. ``max_body``: bytes of the body to read and to unpack; at more the connection is closed
        and the answer is ``truncated``. ``need_body=False`` is for callers that need only the status: they also
        get an answer whose body did not arrive completely, as ``truncated``. ``room`` is called and waited for,
        once, before more than ``SMALL_BODY_BYTES`` of a body are read; that time does not count.

        ``HttpFailed.maybe_sent`` is false if the request certainly did not leave. Neither the error nor any log
        holds the URL's path, query or credentials. All errors of the HTTP libraries become ``HttpFailed``. Raises
        ValueError or TypeError if ``json`` cannot be encoded, and TypeError if the URL or a header is not a str.

        The server may close a reused connection while the request is on its way. If it ends before the first byte
        of an answer, the request is sent once more, at once, on a new connection.
        """
        fields = dict(headers or {})
        if json is not None:
            # A lone surrogate cannot be encoded; it becomes a question mark.
            content = json_lib.dumps(json, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
            fields = {"Content-Type": "application/json; charset=utf-8"} | fields
        transport = self._get_transport()
        exchange = transport.prepare(method, url, fields, content)
        try:
            with trio.move_on_after(timeout) as deadline:
                await transport.run(exchange, max_body, room and partial(_wait_without_deadline, deadline, room))
                return exchange.answer()
            if exchange.answered and not need_body:
                return exchange.answer(truncated=True)
            raise HttpFailed(exchange.describe_delay(timeout), maybe_sent=exchange.sent)
        except HttpFailed:
            if exchange.answered and not need_body:
                return exchange.answer(truncated=True)
            raise
        finally:
            exchange.free_body()

    async def get(self, url: str, **options: Unpack[RequestOptions]) -> HttpAnswer:
        """``request`` with GET."""
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Unpack[RequestOptions]) -> HttpAnswer:
        """``request`` with POST."""
        return await self.request("POST", url, **options)

    def _get_transport(self) -> "HttpTransport":
        if not self._open:
            raise RuntimeError("HttpClient is used outside of its `async with`")
        if self._transport is None:
            self._transport = self._new_transport()
        return self._transport

    def _configured_transport(self) -> "HttpTransport":
        # httpx takes longer to import than the rest of the package; commands that send nothing save the time.
        from aintandem_notify.http_client.transport import HttpTransport

        try:
            outbound = Outbound.parse(self._proxy, self._no_proxy, self._allow_addresses)
        except ValueError as error:
            raise HttpFailed(f"the settings of the HTTP client cannot be used: {error}") from None
        return HttpTransport.new(outbound, self._ca_file, self._connections, self._idle_expiry_s)


async def _wait_without_deadline(deadline: trio.CancelScope, room: WaitForMemory, size: int) -> None:
    """Wait for memory. The request's timeout is paused meanwhile."""
    remaining = deadline.deadline - trio.current_time()
    deadline.deadline = math.inf
    try:
        await room(size)
    finally:
        deadline.deadline = trio.current_time() + remaining
