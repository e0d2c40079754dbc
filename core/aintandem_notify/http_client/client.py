"""The client that the agent and its plugins share."""

import json as json_lib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, Unpack

import trio

from aintandem_notify.config import ConnectionConfig, Outbound
from aintandem_notify.errors import HttpFailed
from aintandem_notify.foundation.open_files import MAX_HTTP_CONNECTIONS
from aintandem_notify.http_client.answer import HttpAnswer, Room

if TYPE_CHECKING:
    from aintandem_notify.http_client.transport import HttpTransport

MAX_BODY: Final = 65536
"""Bytes of an answer that are read unless a caller asks for more (design, plugins)."""


class RequestOptions(TypedDict, total=False):
    """The keyword arguments of ``HttpClient.request``, for ``get`` and ``post``."""

    headers: Mapping[str, str] | None
    json: Any
    content: bytes | None
    timeout: float
    max_body: int
    need_body: bool
    room: "Room | None"


class HttpClient:
    """Requests with one deadline each, a bounded answer, and nothing taken from the environment.

    An async context manager, used inside of it only. No redirect is followed, no cookie is kept, no answer is
    unpacked. TLS trusts the bundled public authorities and, beside them, those in ``ca_file`` (PEM).

    Addresses where clouds have their metadata services are refused at the address that is dialled, unless one of
    ``allow_addresses`` holds it. With ``proxy`` (``http://`` or ``https://``, percent-encoded credentials in the
    URL) that is the proxy's: which targets it reaches is its own matter. ``no_proxy`` names the hosts that are
    dialled directly. All three are as in ``[connection]`` of the config.
    """

    def __init__(
        self,
        proxy: str | None = None,
        ca_file: Path | None = None,
        *,
        no_proxy: Sequence[str] = (),
        allow_addresses: Sequence[str] = (),
        connections: int = MAX_HTTP_CONNECTIONS,
    ) -> None:
        self._proxy = proxy
        self._ca_file = ca_file
        self._no_proxy = no_proxy
        self._allow_addresses = allow_addresses
        self._connections = connections
        self._door: HttpTransport | None = None
        self._open = False

    @classmethod
    def configured(cls, connection: ConnectionConfig, connections: int = MAX_HTTP_CONNECTIONS) -> Self:
        """A client as ``[connection]`` wants it, with so many connections at a time at the most."""
        return cls(
            connection.proxy_url,
            connection.ca_file,
            no_proxy=connection.no_proxy,
            allow_addresses=connection.allow_addresses,
            connections=connections,
        )

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False
        door, self._door = self._door, None
        if door is not None:
            await door.aclose()

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
        room: Room | None = None,
    ) -> HttpAnswer:
        """The answer, whatever its status; raises ``HttpFailed`` when there is none.

        ``json`` (not None) is sent as UTF-8 JSON with its content type, ``content`` as it is; give one of
        them. Credentials in the URL become Basic authentication.

        ``timeout``: seconds for everything from the look-up of the name to the last byte; a server that drips
        does not outlive it. ``max_body``: bytes of the body to read; the connection is cut at more and the
        answer is ``truncated``. ``need_body=False`` is for callers to whom the status says it all: an answer
        whose body does not come to its end is then an answer too, ``truncated``. ``room`` is waited for, once,
        before more than ``SMALL_BODY_BYTES`` of a body are read; that time does not count.

        ``HttpFailed.maybe_sent`` is false when the request certainly did not leave, and neither the error nor
        any log holds the URL's path, query or credentials. Whatever the HTTP libraries raise is an
        ``HttpFailed``. Raises ValueError or TypeError for ``json`` that is no JSON, and TypeError for a URL or
        a header that is no text.

        A connection that an earlier request used may be closed by the server while this one is on its way: if
        it ends before the first byte of an answer, the request is sent once more at once, on a new one.
        """
        fields = dict(headers or {})
        if json is not None:
            # A lone surrogate cannot be sent; a question mark in its place can.
            content = json_lib.dumps(json, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
            fields = {"Content-Type": "application/json; charset=utf-8"} | fields
        door = self._opened()
        attempt = door.attempt(method, url, fields, content)
        try:
            with trio.fail_after(timeout) as deadline:
                await door.exchange(attempt, max_body, room and partial(_wait_off_the_clock, deadline, room))
        except (HttpFailed, trio.TooSlowError) as error:
            if attempt.answered and not need_body:
                return attempt.answer(truncated=True)
            if isinstance(error, HttpFailed):
                raise
            raise HttpFailed(attempt.describe_delay(timeout), maybe_sent=attempt.sent) from None
        else:
            return attempt.answer()
        finally:
            attempt.drop()

    async def get(self, url: str, **options: Unpack[RequestOptions]) -> HttpAnswer:
        """``request`` with GET."""
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Unpack[RequestOptions]) -> HttpAnswer:
        """``request`` with POST."""
        return await self.request("POST", url, **options)

    def _opened(self) -> "HttpTransport":
        if not self._open:
            raise RuntimeError("HttpClient is used outside of its `async with`")
        if self._door is None:
            # httpx takes longer to import than all of ours together; commands that send nothing go without.
            from aintandem_notify.http_client.transport import HttpTransport

            try:
                outbound = Outbound.parse(self._proxy, self._no_proxy, self._allow_addresses)
            except ValueError as error:
                raise HttpFailed(f"the settings of the HTTP client cannot be used: {error}") from None
            self._door = HttpTransport(outbound, self._ca_file, self._connections)
        return self._door


async def _wait_off_the_clock(deadline: trio.CancelScope, room: Room, size: int) -> None:
    """Wait for room; the clock of the request stands still meanwhile."""
    left = deadline.deadline - trio.current_time()
    deadline.deadline = math.inf
    try:
        await room(size)
    finally:
        deadline.deadline = trio.current_time() + left
