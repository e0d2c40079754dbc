"""An answer to an HTTP request, byte by byte, and the end of its connection."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Then(StrEnum):
    """The next event on the connection once the answer is written."""

    KEEP = "keep"
    """The connection takes the next request."""
    CLOSE = "close"
    """It is closed in order."""
    RESET = "reset"
    """It is reset."""
    SILENCE = "silence"
    """It stays open and nothing more comes, until the client goes."""
    GO_ON = "go on"
    """The last piece is sent over and over, until the client goes."""


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """``pieces`` are written one by one, each in a segment of its own."""

    pieces: tuple[bytes, ...]
    then: Then = Then.CLOSE

    @property
    def data(self) -> bytes:
        """All that is written once."""
        return b"".join(self.pieces)


REASONS: Final[Mapping[int, str]] = {
    200: "OK",
    204: "No Content",
    302: "Found",
    404: "Not Found",
    503: "Unavailable",
}


def answer(
    status: int = 200,
    body: bytes | str = b"",
    headers: Mapping[str, str] | None = None,
    *,
    version: str = "HTTP/1.1",
    then: Then = Then.KEEP,
) -> WireAnswer:
    """A well-formed answer; headers are those given and the length, unless it is given, too."""
    content = body.encode() if isinstance(body, str) else body
    fields: dict[str, str] = {"content-length": str(len(content)), **(headers or {})}
    lines = [
        f"{version} {status} {REASONS.get(status, 'Told')}",
        *(f"{name}: {value}" for name, value in fields.items()),
    ]
    return WireAnswer(("\r\n".join([*lines, "", ""]).encode("latin-1") + content,), then)


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> WireAnswer:
    """``content`` as JSON."""
    return answer(status, json.dumps(content), {"content-type": "application/json", **(headers or {})})


def zipped(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> WireAnswer:
    """``content`` in gzip, whether or not it was asked for."""
    return answer(status, gzip.compress(content, mtime=0), {"content-encoding": "gzip", **(headers or {})})


def packed(body: bytes, encoding: str, **options: Any) -> WireAnswer:
    """``body`` as it is, under a header that says how it is compressed; ``options`` are those of ``answer``."""
    return answer(200, body, {"content-encoding": encoding}, **options)


def by_bytes(whole: WireAnswer) -> WireAnswer:
    """The same answer with each byte in a segment of its own."""
    return WireAnswer(tuple(bytes([byte]) for byte in whole.data), whole.then)


LOGIN_PAGE: Final = (
    b"<!DOCTYPE html><html><head><title>Welcome to the airport</title></head>"
    b"<body><form action='/login'>Please accept</form></body></html>"
)
"""The page that a captive portal shows in the place of any other."""
