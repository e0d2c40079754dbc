"""Plain HTTP of the tests' own orchestrator: requests as they are read, and answers as they are sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trio


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request; ``path`` without the query, header names in lower case.

    ``at`` is its time, in seconds of trio's clock.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        """The body as JSON; an empty body is None."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """The answer to a REST call; ``body`` is sent as JSON unless it is bytes."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class RequestReader:
    """Reads HTTP/1.1 requests from a stream, and keeps the bytes after them."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def request(self) -> HttpRequest | None:
        """The next request, None if the client has gone."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not await self._more():
                return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            if not await self._more():
                return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        method, target, _ = first.split(" ", 2)
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        return HttpRequest(method, url.path, query, headers, body, trio.current_time())

    def remaining(self) -> bytes:
        """The bytes after the last request."""
        return bytes(self._buffer)

    async def until_closed(self) -> None:
        """Read and discard until the client goes."""
        while await self._more():
            self._buffer.clear()

    async def _more(self) -> bool:
        content = await self._stream.receive_some(65536)
        self._buffer += content
        return bool(content)


def http_answer(answer: RestAnswer) -> bytes:
    """The answer as bytes."""
    body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **answer.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Answer\r\n{head}\r\n".encode() + body


def error_answer(status: int, code: str, message: str) -> RestAnswer:
    """An error in the orchestrator's form."""
    return RestAnswer({"error": message, "code": code, "statusCode": status}, status)
