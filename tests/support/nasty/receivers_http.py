"""Responses in the place of the receiver of a destination, or of a proxy between the two.

Whether a message counts as delivered is the destination's protocol: a webhook takes any 2xx, Slack an ``ok``. All
of these leave the message delivered, waiting, or dead with a reason, and every other destination alone.
"""

import gzip
import zlib
from collections.abc import Mapping
from typing import Final

from support.nasty.orchestrator_http import BYTES, REDIRECTS
from support.nasty.wire import LOGIN_PAGE, Then, WireAnswer, answer, by_bytes, json_answer, packed, zipped

_HTML: Final = {"content-type": "text/html"}
_HOUR_BEHIND: Final = "Sun, 01 Mar 2026 11:00:00 GMT"
_NOON: Final = "Sun, 01 Mar 2026 12:00:00 GMT"

_ZIPPED_OK: Final = gzip.compress(b"ok", mtime=0)
_ZLIB_OK: Final = zlib.compress(b"ok")
_ZLIB_HEADER_BYTES, _ZLIB_TRAILER_BYTES = 2, 4

_NO_BLOCK: Final = b"\x07" * 100
"""Bytes that begin no block of deflated data."""


def _half_of_a_zip() -> bytes:
    """Blocks of 40 KB of noise, without the end of the zip."""
    zipper = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    noise = b"".join(b"%d" % 3**number for number in range(400))[:40_000]
    return zipper.compress(noise) + zipper.flush(zlib.Z_FULL_FLUSH)


PACKED: Final[Mapping[str, WireAnswer]] = {
    "zipped ok": zipped(b"ok"),
    "zipped ok, byte by byte": by_bytes(zipped(b"ok")),
    "zipped ok in chunks": WireAnswer(
        (
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n5\r\n",
            _ZIPPED_OK[:5] + b"\r\n%x\r\n" % len(_ZIPPED_OK[5:]) + _ZIPPED_OK[5:] + b"\r\n0\r\n\r\n",
        ),
        Then.KEEP,
    ),
    "zipped ok without a length": WireAnswer(
        (b"HTTP/1.0 200 OK\r\nContent-Encoding: x-gzip\r\n\r\n" + _ZIPPED_OK,)
    ),
    "zipped ok with bytes behind it": packed(_ZIPPED_OK + b"\0\0\0", "GZIP"),
    "zipped ok in two members": packed(gzip.compress(b"o", mtime=0) + gzip.compress(b"k", mtime=0), "gzip"),
    "zipped ok in two members, byte by byte": by_bytes(
        packed(gzip.compress(b"o", mtime=0) + gzip.compress(b"k", mtime=0), "gzip")
    ),
    "zipped ok, named twice": packed(_ZIPPED_OK, "gzip, gzip"),
    "ok zipped twice": packed(gzip.compress(_ZIPPED_OK), "gzip, gzip"),
    "ok deflated and zipped": packed(gzip.compress(_ZLIB_OK), "deflate, gzip"),
    "ok that is only called zipped": packed(b"ok", "gzip"),
    "ok that is only called deflated": packed(b"ok", "deflate"),
    "deflated ok": packed(_ZLIB_OK, "deflate"),
    "deflated ok without its header": packed(_ZLIB_OK[_ZLIB_HEADER_BYTES:-_ZLIB_TRAILER_BYTES], "deflate"),
    "ok in no encoding": packed(b"ok", "identity"),
}
"""``ok`` as gateways compress it, whether or not they were asked to."""

ACCEPTED: Final[Mapping[str, WireAnswer]] = {
    "200": answer(200),
    "200 ok": answer(200, b"ok"),
    "200 ok, then closed": answer(200, b"ok", then=Then.CLOSE),
    "200 ok, then closed, and said": answer(200, b"ok", {"connection": "close"}, then=Then.CLOSE),
    **PACKED,
    "201": answer(201, b"{}"),
    "202 with 1": answer(202, b"1"),
    "204": WireAnswer((b"HTTP/1.1 204 No Content\r\n\r\n",), Then.KEEP),
    "204 with a length": answer(204),
    "http/1.0": answer(200, b"ok", version="HTTP/1.0", then=Then.CLOSE),
    "no length": WireAnswer((b"HTTP/1.1 200 OK\r\n\r\nok",)),
    "no reason": WireAnswer((b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok",), Then.KEEP),
    "chunks": WireAnswer(
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",), Then.KEEP
    ),
    "chunks with trailers": WireAnswer(
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",), Then.KEEP
    ),
    "two small writes": WireAnswer((b"HTTP/1.1 200 OK\r\ncontent-len", b"gth: 2\r\n\r\nok"), Then.KEEP),
    "byte by byte": WireAnswer(
        tuple(bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Then.KEEP
    ),
    "100 before it": WireAnswer((b"HTTP/1.1 100 Continue\r\n\r\n", answer(200, b"ok").data), Then.KEEP),
    "103 before it": WireAnswer(
        (b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", answer(200, b"ok").data), Then.KEEP
    ),
    "8,000 headers": WireAnswer(
        (
            b"HTTP/1.1 200 OK\r\n"
            + b"".join(b"x%d:\r\n" % number for number in range(8000))
            + b"content-length: 2\r\n\r\nok",
        ),
        Then.KEEP,
    ),
    "chunks of one byte": WireAnswer(
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\no\r\n" * 9000 + b"0\r\n\r\n",),
        Then.KEEP,
    ),
    "a body of 1 MB": answer(200, b"o" * 1_000_000),
}
"""Answers of 2xx in every form that HTTP allows: a webhook has delivered."""

REFUSED: Final[Mapping[str, WireAnswer]] = {
    **{name: REDIRECTS[name] for name in REDIRECTS if name != "304"},
    "304": answer(304),
    "400": answer(400, b"bad"),
    "401": answer(401, b"token=receivercanary0123"),
    "403 with html": answer(403, LOGIN_PAGE, _HTML),
    "404 during a redeploy": answer(404, b"default backend - 404"),
    "407 from a proxy": answer(407, b"", {"proxy-authenticate": "Basic"}),
    "408": answer(408, then=Then.CLOSE),
    "410": answer(410),
    "413": answer(413, then=Then.CLOSE),
    "421 from a proxy": answer(421),
    "429": answer(429, b"", {"retry-after": "1"}),
    "429 without a word": answer(429),
    "429 said twice": WireAnswer(
        (b"HTTP/1.1 429 Told\r\nretry-after: 1\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",), Then.KEEP
    ),
    "429 with junk": answer(429, b"", {"retry-after": "\xfcber"}),
    "429 until a date of its own clock": answer(429, b"", {"date": _HOUR_BEHIND, "retry-after": _HOUR_BEHIND}),
    "429 until an hour of its own clock": answer(429, b"", {"date": _HOUR_BEHIND, "retry-after": _NOON}),
    "429 until the year 9999": answer(429, b"", {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}),
    "429 until no date": answer(429, b"", {"retry-after": "Sun, 99 Mar 2026 99:99:99 GMT"}),
    "429 for ever": answer(429, b"", {"retry-after": "9" * 400}),
    "429 for minus one": answer(429, b"", {"retry-after": "-1"}),
    "429 for a fraction": answer(429, b"", {"retry-after": "1.5"}),
    "429 for infinity": answer(429, b"", {"retry-after": "inf"}),
    "431": answer(431),
    "500": answer(500, b"\x1b[2Jboom\x00"),
    "502 with html": answer(502, b"<h1>Bad Gateway</h1>", _HTML),
    "503": answer(503),
    "503 with a wrong date": answer(503, b"", {"date": "yesterday", "retry-after": "1"}),
    "530": answer(530, b"error code: 1033"),
    "600": answer(600),
}
"""Whole answers that say no."""

PORTALS: Final[Mapping[str, WireAnswer]] = {
    "200 with a login page": answer(200, LOGIN_PAGE, _HTML),
    "302 to a login page": answer(302, LOGIN_PAGE, {**_HTML, "location": "http://portal.invalid/login"}),
    "403 with a login page": answer(403, LOGIN_PAGE, _HTML),
    "511 with a login page": answer(511, LOGIN_PAGE, _HTML),
}
"""A page of somebody between the two."""

COMPATIBLE: Final[Mapping[str, WireAnswer]] = {
    "200 without a body": answer(200),
    "201 with an id": json_answer({"id": 7}, 201),
    "202 without a body": answer(202),
    "202 with 1": answer(202, b"1", {"content-type": "text/plain"}),
    "204": WireAnswer((b"HTTP/1.1 204 No Content\r\n\r\n",), Then.KEEP),
    "200 with success": json_answer({"success": True}),
    "200 with a result": json_answer({"id": 7, "msg": "", "result": "success"}),
    "200 with no error": json_answer({"error": None, "result": "queued"}),
    "200 with accepted": answer(200, b"accepted"),
    "200 with OK": answer(200, b"OK"),
    "200 with ok in quotes": answer(200, b'"ok"', {"content-type": "application/json"}),
    "200 with ok as a text": json_answer({"ok": "true"}),
    "200 with a number": json_answer(1),
    "200 with null": json_answer(None),
    "200 with a list": json_answer([]),
    "200 with an empty object": json_answer({}),
    "200 with half of json": answer(200, b'{"ok": tr', {"content-type": "application/json"}),
    "200 with no utf-8": answer(200, b"\xff\xfe", {"content-type": "application/json"}),
    "200 in an unknown encoding": packed(b"\x0b\x00\x80ok\x03", "br"),
    "299": answer(299, b"fine"),
}
"""2xx answers that Slack does not give, but receivers that are compatible with its webhooks do."""

SLACK: Final[Mapping[str, WireAnswer]] = {
    "200 with ok and a line break": answer(200, b"ok\n"),
    "200 with success: false": json_answer({"success": False, "error": "no such channel"}),
    "200 with an error alone": json_answer({"error": "no such channel"}),
    "200 with an unknown error": json_answer({"ok": False, "error": "never_heard_of_it"}),
    "200 with an error that is an object": json_answer({"ok": False, "error": {"a": 1}}),
    "200 without ts": json_answer({"ok": True}),
    "200 with a ts of another type": json_answer({"ok": True, "channel": 7, "ts": {}}),
    "200 with a ts of 20,000 digits": json_answer({"ok": True, "channel": "C1", "ts": "1" * 20_000}),
    "200 with 240 KB around ok": json_answer({"ok": True, "message": "\u00e4" * 40_000}),
    "200 with ratelimited": json_answer({"ok": False, "error": "ratelimited"}, 200, {"retry-after": "1"}),
    "429 in html": answer(429, b"<h1>slow down</h1>", {**_HTML, "retry-after": "1"}),
    "500 with ok": answer(500, b"ok"),
}
"""Answers that only Slack would be asked for."""

DAMAGED: Final[Mapping[str, WireAnswer]] = {
    "half a zip": packed(_ZIPPED_OK[:-6], "gzip"),
    "half a zip, and the end": packed(_ZIPPED_OK[:-6], "gzip", then=Then.CLOSE),
    "half of deflated data": packed(_ZLIB_OK[:-2], "deflate"),
    # Longer than a read from the socket, so that its beginning is unpacked before the damage is seen.
    "a zip that is damaged far inside": packed(_half_of_a_zip() + _NO_BLOCK, "gzip"),
}
"""Compressed bodies that begin as they should."""

BROKEN: Final[Mapping[str, WireAnswer]] = {
    **DAMAGED,
    "a header without a colon": WireAnswer((b"HTTP/1.1 200 OK\r\nnocolon\r\ncontent-length: 2\r\n\r\nok",)),
    "a zip with a wrong sum": packed(_ZIPPED_OK[:-8] + b"nonsense", "gzip"),
    "a space before the colon": WireAnswer((b"HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 2\r\n\r\nok",)),
    "a folded header": WireAnswer((b"HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 2\r\n\r\nok",)),
    "only line feeds": WireAnswer((b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",)),
    "status of a shoutcast": WireAnswer((b"ICY 200 OK\r\n\r\nok",)),
    "smtp": WireAnswer((b"220 mail.invalid ESMTP\r\n",)),
    **{
        name: BYTES[name]
        for name in (
            "closed at once",
            "reset at once",
            "half a status line",
            "half a head",
            "half a body",
            "half a body, then a reset",
            "two lengths",
            "a negative length",
            "a header with NUL",
            "headers of 120 KB",
            "headers without end",
            "100 without end",
            "a body without end",
            "chunks without end",
            "no http",
            "tls",
            "http/0.9",
            "101 to a request for rest",
            "a broken zip",
            "a broken zlib",
            "brotli that is none",
            "a zip of 50 MB",
            "an unknown encoding",
            "more than was announced",
        )
    },
}
"""Bytes that are no proper answer, or end at an odd place, or do not end."""

HANGING: Final[Mapping[str, WireAnswer]] = {
    "silence": WireAnswer((), Then.SILENCE),
    "a head and no body": WireAnswer((b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",), Then.SILENCE),
    "half a head": WireAnswer((b"HTTP/1.1 200 OK\r\ncont",), Then.SILENCE),
}
"""Answers that never end, without a byte more: only a deadline ends them."""

ANSWERS: Final[Mapping[str, WireAnswer]] = {**ACCEPTED, **REFUSED, **PORTALS, **BROKEN}
"""All answers that end by themselves or go on sending, by their names."""

CAREFREE: Final = tuple(name for name in ("503", "429", "408", "502 with html", "530") if name in REFUSED)
"""Names in ``REFUSED`` after which any destination tries again by itself, soon."""
