"""Bytes that another user of the machine sends to a port on loopback, without a token, on many connections.

``{port}`` is the port's number.
"""

from collections.abc import Mapping
from typing import Final

_HEAD: Final = b"Host: 127.0.0.1:{port}\r\n"

OPENINGS: Final[Mapping[str, bytes]] = {
    "silence": b"",
    "half a request line": b"GET /sta",
    "a line without an end": b"GET /" + b"a" * 30_000,
    "half a head": b"GET /status HTTP/1.1\r\n" + _HEAD,
    "headers without end": b"GET /status HTTP/1.1\r\n" + _HEAD + b"X-More: 1\r\n" * 3_000,
    "a header of 120 KB": b"GET /status HTTP/1.1\r\n" + _HEAD + b"X-More: " + b"a" * 120_000 + b"\r\n\r\n",
    "a body that never comes": b"POST /deliveries/drop HTTP/1.1\r\n" + _HEAD + b"Content-Length: 9999999\r\n\r\n{",
    "chunks without end": b"POST /deliveries/drop HTTP/1.1\r\n"
    + _HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"5\r\nabcde\r\n" * 2_000,
    "a chunk of no length": b"POST /status HTTP/1.1\r\n" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "two lengths": b"POST /status HTTP/1.1\r\n" + _HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    "a question, kept alive": b"GET /healthz HTTP/1.1\r\n" + _HEAD + b"\r\n",
    "a thousand questions, no answer read": (b"GET /healthz HTTP/1.1\r\n" + _HEAD + b"\r\n") * 1_000,
    "a wrong token": b"GET /status HTTP/1.1\r\n" + _HEAD + b"Authorization: Bearer wrong\r\n\r\n",
    "waits for 100": b"POST /status HTTP/1.1\r\n" + _HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "HTTP/2, then junk": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500,
    "upgrade to HTTP/2, wrong settings": b"GET /healthz HTTP/1.1\r\n"
    + _HEAD
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: !\r\n\r\n",
    "upgrade to HTTP/2, no settings": b"GET /healthz HTTP/1.1\r\n"
    + _HEAD
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "a socket": b"GET /status HTTP/1.1\r\n"
    + _HEAD
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "a socket without its key": b"GET /status HTTP/1.1\r\n"
    + _HEAD
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "bytes of every kind": bytes(range(256)) * 40,
    "NUL": b"\x00" * 1_000,
    "line breaks": b"\r\n" * 10_000,
    "HTTP/0.9": b"GET /\r\n",
    "a path that is no UTF-8": b"GET /%ff%fe\xff HTTP/1.1\r\n" + _HEAD + b"\r\n",
    "no host": b"GET /status HTTP/1.1\r\n\r\n",
    "an absolute target": b"GET http://evil.example/status HTTP/1.1\r\n" + _HEAD + b"\r\n",
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\n" + _HEAD + b"\r\n",
    "all of the server": b"OPTIONS * HTTP/1.1\r\n" + _HEAD + b"\r\n",
}
"""The first bytes of a connection, which stays open afterwards, and whose answers nobody reads."""
