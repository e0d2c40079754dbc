"""Recognizes requests that a web page makes a browser send to a server on loopback. Pure.

A browser sends requests to 127.0.0.1 for any page. With DNS rebinding the page's own host name resolves to
127.0.0.1: then ``Host`` is wrong. With a form or a WebSocket, ``Origin`` names another site. So it does if
another program on this machine serves the page at its own port. Programs other than browsers send no ``Origin``.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

_READ_METHODS: Final = frozenset({"GET", "HEAD"})
_OTHER_SITES: Final = frozenset({"cross-site", "same-site"})
"""Values of ``Sec-Fetch-Site`` that browsers send for a page with another origin."""


def is_loopback_host(host: str) -> bool:
    """True if ``host[:port]`` is localhost or a loopback address: names that nobody else can own."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_cross_site_write(method: str, headers: Mapping[str, str]) -> bool:
    """True if a browser sends the request for another site, and the request could change something.

    ``headers`` has lower-case names. Pass CONNECT as the method of an upgrade to a WebSocket, as in HTTP/2: a page
    may read the answers of a socket, so it does not count as a read.
    """
    if method in _READ_METHODS:
        return False
    own = f"http://{headers.get('host', '')}".lower()
    return headers.get("origin", own).lower() != own or headers.get("sec-fetch-site", "").lower() in _OTHER_SITES


def has_json_body(headers: Mapping[str, str]) -> bool:
    """True if there is no body, or its type is JSON: forms cannot send that, and pages only after a preflight."""
    if headers.get("content-length", "0").strip() == "0" and "transfer-encoding" not in headers:
        return True
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
