"""Responses in the orchestrator's place: to the login, to any REST call, and to the upgrade to a socket."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from support.nasty.wire import LOGIN_PAGE, Then, WireAnswer, answer, json_answer, zipped

_HTML: Final = {"content-type": "text/html; charset=utf-8"}


def _redirect(target: str | None, status: int = 302) -> WireAnswer:
    return answer(status, b"", {} if target is None else {"location": target})


REDIRECTS: Final[Mapping[str, WireAnswer]] = {
    "302 to about:blank": _redirect("about:blank"),
    "302 without a location": _redirect(None),
    "302 to an empty location": _redirect(""),
    "302 to another host": _redirect("http://elsewhere.invalid/login"),
    "302 to another port": _redirect("http://127.0.0.1:9/"),
    "302 to itself": _redirect("?again"),
    "301 to https": _redirect("https://127.0.0.1:9/", 301),
    "307 to a file": _redirect("file:///etc/passwd", 307),
    "308 to javascript": _redirect("javascript:alert(1)", 308),
    "302 to no host": _redirect("http://"),
    "302 to a broken address": _redirect("http://[::1"),
    "302 to a wrong port": _redirect("http://x:99999999/"),
    "302 to a port that is a word": _redirect("http://x:port/"),
    "302 to a host with a space": _redirect("http://a b/"),
    "302 to an umlaut": _redirect("http://m\xfcller.invalid/\xfc"),
    "302 to a broken xn--": _redirect("http://xn--\x80.invalid/"),
    "302 to 70,000 characters": _redirect("http://x.invalid/" + "a" * 70_000),
    "302 to a secret": _redirect("http://bob:pwcanary0123@x.invalid/?token=locationcanary01"),
    "300 with a choice": _redirect("/other", 300),
    "304": answer(304),
}
"""Redirects; none is followed."""

BODIES: Final[Mapping[str, WireAnswer]] = {
    "html": answer(200, LOGIN_PAGE, _HTML),
    "html that says json": answer(200, LOGIN_PAGE, {"content-type": "application/json"}),
    "nothing": answer(200, b""),
    "204": answer(204, b"", {}),
    "202 with 1": json_answer(1, 202),
    "null": json_answer(None),
    "an empty text": json_answer(""),
    "a text": json_answer("maintenance"),
    "a number": json_answer(7),
    "true": json_answer(True),
    "an empty list": json_answer([]),
    "an empty object": json_answer({}),
    "maintenance": json_answer({"status": "maintenance"}),
    "a list of null": json_answer([None, None]),
    "a list of texts": json_answer(["a", "b"]),
    "a list in a list": json_answer([[{"id": "a"}]]),
    "the wrong types": json_answer(
        {"success": "yes", "token": 7, "refreshToken": [], "tasks": "none", "total": "x", "id": {}}
    ),
    "an empty token": json_answer({"success": True, "token": "", "refreshToken": ""}),
    "a token with a line break": json_answer({"success": True, "token": "a\r\nX: y", "refreshToken": "b\n"}),
    "a token that is no ASCII": json_answer(
        {"success": True, "token": "t\u00fc\U0001f4a5", "refreshToken": "\u00fc"}
    ),
    "a token with a lone surrogate": json_answer({"success": True, "token": "a\ud83d", "refreshToken": "\udc00"}),
    "a token of 1 MB": json_answer({"success": True, "token": "t" * 1_000_000}),
    "a token that expires in the year 300,000": json_answer(
        {"success": True, "token": "eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTk5OTk5fQ.canary"}
    ),
    "a token that has expired": json_answer(
        {"success": True, "token": "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.canary", "refreshToken": "r"}
    ),
    "no success, and a secret": json_answer({"success": False, "error": "bad token=answercanary0123"}),
    "no success, and an object": json_answer({"success": False, "error": {"code": 7}}),
    "no utf-8": answer(200, b'{"status": "\xff\xfe"}', {"content-type": "application/json"}),
    "utf-16": answer(200, '{"status": "ok"}'.encode("utf-16"), {"content-type": "application/json"}),
    "a byte order mark": answer(200, b"\xef\xbb\xbf[]", {"content-type": "application/json"}),
    "NaN": answer(200, b'[{"id": NaN}]', {"content-type": "application/json"}),
    "half of json": answer(200, b'{"tasks": [{"id": "a"', {"content-type": "application/json"}),
    "two jsons": answer(200, b"[]\n[]", {"content-type": "application/json"}),
    "nested 100,000 deep": answer(200, b"[" * 100_000 + b"]" * 100_000),
    "nested 100,000 deep, cut": answer(200, b'{"a":' * 100_000),
    "a number of 10,000 digits": answer(200, b'{"total": ' + b"9" * 10_000 + b"}"),
    "an unknown charset": answer(200, b"[]", {"content-type": "application/json; charset=klingon"}),
    "1 MB of escapes": json_answer({"error": "\x1b[2J" * 200_000}),
}
"""Whole answers that say nothing that was asked for."""

ERRORS: Final[Mapping[str, WireAnswer]] = {
    "401": json_answer({"error": "Unauthorized", "code": "UNAUTHORIZED", "statusCode": 401}, 401),
    "401 that asks for basic": answer(401, b"", {"www-authenticate": 'Basic realm="x"'}),
    "403 with html": answer(403, LOGIN_PAGE, _HTML),
    "404": json_answer({"error": "no such route", "code": "NOT_FOUND", "statusCode": 404}, 404),
    "404 with html": answer(404, b"<h1>Not Found</h1>", _HTML),
    "407 from a proxy": answer(407, b"", {"proxy-authenticate": "Basic"}),
    "409": json_answer({"error": "\x1b[31mred\x1b[0m \x9b2J", "code": "CONFLICT"}, 409),
    "418 with an object as error": json_answer({"error": {"message": ["x"]}, "code": 7}, 418),
    "421": answer(421, b"misdirected"),
    "429": answer(429, b"", {"retry-after": "1"}),
    "429 for a thousand years": answer(429, b"", {"retry-after": "99999999999999999999"}),
    "429 with junk": answer(429, b"", {"retry-after": "soon"}),
    "500": json_answer({"error": "boom at /srv?token=errorcanary0123", "stack": ["x"] * 1000}, 500),
    "502 with html": answer(502, b"<h1>Bad Gateway</h1>" * 1000, _HTML),
    "503": answer(503, b"", {"retry-after": "1"}),
    "599": answer(599, b"?"),
    "a status of 999": answer(999, b"?"),
}
"""Errors in HTTP's own words."""

_ROW: Final = {"id": "x", "status": "running", "createdAt": "2026-01-05T09:30:00.000Z"}

BYTES: Final[Mapping[str, WireAnswer]] = {
    "closed at once": WireAnswer(()),
    "reset at once": WireAnswer((), Then.RESET),
    "silence": WireAnswer((), Then.SILENCE),
    "half a status line": WireAnswer((b"HTTP/1.1 20",)),
    "half a head": WireAnswer((b"HTTP/1.1 200 OK\r\ncontent-le",)),
    "half a body": WireAnswer((b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[{",)),
    "half a body, then a reset": WireAnswer((b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[{",), Then.RESET),
    "half a chunk": WireAnswer((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n[",)),
    "a chunk of wrong length": WireAnswer(
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n",)
    ),
    "two lengths": WireAnswer((b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n[]",)),
    "a length that is a word": WireAnswer((b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n[]",)),
    "a negative length": WireAnswer((b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n[]",)),
    "a header without a colon": WireAnswer((b"HTTP/1.1 200 OK\r\nnocolon\r\ncontent-length: 2\r\n\r\n[]",)),
    "a header that is no latin-1": WireAnswer(
        ("HTTP/1.1 200 OK\r\nx: \U0001f4a5\r\ncontent-length: 2\r\n\r\n[]".encode(),)
    ),
    "a header with NUL": WireAnswer((b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\n[]",)),
    "headers of 120 KB": WireAnswer(
        (b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 120_000 + b"\r\ncontent-length: 2\r\n\r\n[]",)
    ),
    "10,000 headers": WireAnswer(
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000 + b"content-length: 2\r\n\r\n[]",)
    ),
    "headers without end": WireAnswer((b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 65_000 + b"\r\n"), Then.GO_ON),
    "one header without end": WireAnswer((b"HTTP/1.1 200 OK\r\nx: ", b"y" * 65_536), Then.GO_ON),
    "a status line without end": WireAnswer((b"HTTP/1.1 200 ", b"O" * 65_536), Then.GO_ON),
    "100 without end": WireAnswer((b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,), Then.GO_ON),
    "a body without end": WireAnswer((b"HTTP/1.1 200 OK\r\n\r\n[", b" " * 65_536), Then.GO_ON),
    "a body of objects without end": WireAnswer(
        (b"HTTP/1.1 200 OK\r\n\r\n[", json.dumps(_ROW).encode() * 100 + b","), Then.GO_ON
    ),
    "chunks without end": WireAnswer(
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"8000\r\n" + b" " * 0x8000 + b"\r\n"),
        Then.GO_ON,
    ),
    "a body that stops": WireAnswer((b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[",), Then.SILENCE),
    "no http": WireAnswer((b"SSH-2.0-OpenSSH_9.6\r\n",)),
    "tls": WireAnswer((b"\x16\x03\x01\x00\x05\xff\xfe\x00\x01\x02",)),
    "http/0.9": WireAnswer((b"<html>hello</html>",)),
    "http/1.0": answer(200, b"[]", version="HTTP/1.0", then=Then.CLOSE),
    "http/2's preface": WireAnswer((b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\0" * 18,)),
    "101 to a request for rest": WireAnswer((b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",)),
    "an answer in two small writes": WireAnswer(
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", b"\r\n[]"), Then.KEEP
    ),
    "more than was announced": WireAnswer(
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]HTTP/1.1 500 x\r\n\r\n",)
    ),
    "zipped": zipped(b"[]"),
    "a broken zip": answer(200, b"\x1f\x8b\x08nonsense", {"content-encoding": "gzip"}),
    "a zip of 50 MB": zipped(b" " * 50_000_000),
    "zipped twice": zipped(
        zipped(b"[]").data.partition(b"\r\n\r\n")[2], headers={"content-encoding": "gzip, gzip"}
    ),
    "an unknown encoding": answer(200, b"[]", {"content-encoding": "klingon"}),
    "a broken zlib": answer(200, b"nonsense", {"content-encoding": "deflate"}),
    "brotli that is none": answer(200, b"nonsense", {"content-encoding": "br"}),
}
"""Bytes that are no proper answer, or end at an odd place, or do not end."""

ANSWERS: Final[Mapping[str, WireAnswer]] = {**REDIRECTS, **BODIES, **ERRORS, **BYTES}
"""Every answer that does not depend on the request."""


def _page(rows: list[dict[str, Any]], total: object) -> WireAnswer:
    return json_answer({"tasks": rows, "total": total, "limit": len(rows)})


def _offset(query: Mapping[str, str]) -> int:
    return int(query.get("offset", "0"))


def _limit(query: Mapping[str, str]) -> int:
    return int(query.get("limit", "50"))


def _numbered(begin: int, count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**_ROW, "id": f"task-{number}", **fields} for number in range(begin, begin + count)]


_LISTS: Final = ("an empty list", "a byte order mark", "an unknown charset", "NaN")

NO_LISTS: Final[Mapping[str, WireAnswer]] = {
    **REDIRECTS,
    **{name: body for name, body in BODIES.items() if name not in _LISTS},
    **{name: ERRORS[name] for name in ("403 with html", "404", "404 with html", "407 from a proxy", "421")},
    "objects without an id": json_answer([{"name": "a"}, {"id": ""}]),
    "a list of errors": json_answer([{"error": "maintenance"}]),
    "an error beside a list": json_answer({"error": "maintenance", "ROWS": []}),
    "no success beside a list": json_answer({"success": False, "ROWS": []}),
    "an error and no data": json_answer({"error": {"message": "maintenance"}, "data": None}),
    "an empty list of something else": json_answer({"status": "maintenance", "errors": []}),
    "a wrapped list of something else": json_answer({"data": {"errors": []}}),
    "an object in place of the list": json_answer({"ROWS": {}}),
    "a text in place of the list": json_answer({"ROWS": "none"}),
}
"""Answers to a call for a list that are no list, not even an empty one; ``ROWS`` stands for the list's name."""

NO_PROJECTS: Final[Mapping[str, WireAnswer]] = {
    **NO_LISTS,
    "null in place of the list": json_answer({"ROWS": None, "total": 0}),
    "no data": json_answer({"data": None}),
    "a page of a status service": json_answer({"status": "maintenance", "components": [{"id": "api"}]}),
}
"""The same for the list of projects, where an empty list has the most consequences."""

EMPTY_LISTS: Final[Mapping[str, WireAnswer]] = {
    "a list": json_answer([]),
    "by name": json_answer({"ROWS": [], "total": 0}),
    "with success and no error": json_answer({"success": True, "error": None, "ROWS": []}),
    "as items": json_answer({"items": []}),
    "wrapped": json_answer({"success": True, "data": {"ROWS": []}}),
    "wrapped under an unknown name": json_answer({"page": {"ROWS": []}}),
}
"""Answers that are an empty list."""


def named_rows(answer: WireAnswer, name: str) -> WireAnswer:
    """The answer with the list's name in place of ``ROWS``."""
    body = answer.data.partition(b"\r\n\r\n")[2]
    if b'"ROWS"' not in body:
        return answer
    return json_answer(json.loads(body.replace(b'"ROWS"', json.dumps(name).encode())))


PAGES: Final[Mapping[str, Callable[[Mapping[str, str]], WireAnswer]]] = {
    "pages without end": lambda query: _page(_numbered(_offset(query), _limit(query)), 10**9),
    "the same page again": lambda query: _page(_numbered(0, _limit(query)), 10**9),
    "pages that are empty and not the last": lambda _query: _page([], 10**9),
    "a page of 100,000 rows": lambda _query: _page(_numbered(0, 100_000), 100_000),
    "pages without ids": lambda query: _page([{"status": "failed"}] * _limit(query), 10**6),
    "rows of 150 KB of output": lambda query: _page(
        _numbered(_offset(query), min(_limit(query), 2000 - _offset(query)), output="o" * 150_000), 2000
    ),
    "a total that is a word": lambda query: _page(_numbered(_offset(query), min(_limit(query), 10)), "many"),
    "a total below zero": lambda query: _page(_numbered(_offset(query), min(_limit(query), 10)), -1),
    "a list where a page is due": lambda query: json_answer(_numbered(_offset(query), _limit(query))),
    "an id twice": lambda _query: _page(_numbered(0, 2) + _numbered(0, 2, status="failed"), 4),
}
"""Answers to a call for a list of tasks, by its query (``offset``, ``limit``)."""

UPGRADES: Final[Mapping[str, WireAnswer]] = {
    **{
        name: REDIRECTS[name]
        for name in ("302 to about:blank", "302 without a location", "302 to a broken address")
    },
    **{name: ERRORS[name] for name in ("401", "403 with html", "404", "407 from a proxy", "429", "500", "503")},
    **{
        name: BYTES[name]
        for name in (
            "closed at once",
            "reset at once",
            "half a head",
            "headers of 120 KB",
            "no http",
            "tls",
            "http/0.9",
        )
    },
    "200 with html": BODIES["html"],
    "200 with json": BODIES["maintenance"],
    "204": BODIES["204"],
    "headers without end": BYTES["headers without end"],
    "101 without a key": WireAnswer(
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",)
    ),
    "101 to another protocol": WireAnswer(
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",)
    ),
}
"""Answers to the upgrade, while REST knows the project and is well."""
