"""Pages of HTML that portals, proxies and load balancers send in the place of a service, and other bodies."""

from collections.abc import Mapping
from typing import Final

from support.nasty.wire import LOGIN_PAGE

_REFRESH: Final = b'<meta http-equiv="refresh" content="0; url=http://portal.invalid/login">'

PAGES: Final[Mapping[str, bytes]] = {
    "a login page": LOGIN_PAGE,
    "in lower case": b"<!doctype html>\n<title>Just a moment...</title>",
    "of nginx": b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n</body>\r\n</html>\r\n",
    "in capitals": b"<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>",
    "a refresh in a page": b"<html><head>" + _REFRESH + b"</head></html>",
    "a refresh alone": _REFRESH,
    "a script alone": b'<script>window.location="http://portal.invalid/login";</script>',
    "with attributes": b'<html lang="de" class="no-js">',
    "of frames": b"<frameset rows='*'></frameset>",
    "behind line breaks": b"\r\n\r\n  \t<html></html>",
    "behind a byte order mark": b"\xef\xbb\xbf<!DOCTYPE html>",
    "behind a comment": b"<!-- <?xml?> a message for WISPr clients -->\n<html></html>",
    "behind two comments": b"<!--a--><!-- b\n -->\n<!DOCTYPE HTML PUBLIC>",
    "xhtml": b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">',
    "utf-16": "<!DOCTYPE html><html></html>".encode("utf-16"),
    "utf-16, big end first": "\ufeff<html></html>".encode("utf-16-be"),
    "its beginning": b"<html>",
}
"""Whole pages, or their beginnings: known as such under any content type."""

FRAGMENTS: Final[Mapping[str, bytes]] = {
    "a heading": b"<h1>Bad Gateway</h1>",
    "a paragraph": b"<p>Please log in.</p>",
    "centred": b"<center><h1>504 Gateway Time-out</h1></center>",
    "a long comment": b"<!--" + b"padding " * 1000 + b"--><html></html>",
}
"""Pieces of pages, which only their content type tells from XML."""

NO_PAGES: Final[Mapping[str, bytes]] = {
    "nothing": b"",
    "ok": b"ok",
    "1": b"1",
    "json": b'{"ok": true}',
    "json with html in it": b'{"error": "<html><body>no</body></html>"}',
    "text with html in it": b"invalid_payload: <html>",
    "text that begins with less than": b"< 3 messages left",
    "an arrow": b"<- ok",
    "bytes": b"\x00\xff\x1f\x8b",
}
"""Other bodies; servers call them HTML, too."""
