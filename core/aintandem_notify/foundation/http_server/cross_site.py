"""What a page in somebody's browser may make a server on loopback do: nothing. Judged as values.

A browser sends requests to 127.0.0.1 for any page that asks for them, under a name of the page's own that now
leads there (DNS rebinding: the host is wrong then), or as a form or a socket (the origin is another then, also
that of a page which another program of this machine serves at a port of its own). Programs that are no browser
say no origin.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

_READ_METHODS: Final = frozenset({"GET", "HEAD"})
_OTHER_SITES: Final = frozenset({"cross-site", "same-site"})
"""What browsers say in ``Sec-Fetch-Site`` of a page with another origin."""


def is_loopback_host(host: str) -> bool:
    """Whether ``host[:port]`` is a name of this machine that nobody else can give away."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_cross_site_write(method: str, headers: Mapping[str, str]) -> bool:
    """Whether another site makes a browser ask this, and it could change something.

    ``headers`` has lower-case names. The upgrade to a socket, whose answers a page may read, goes by the method
    CONNECT, as in HTTP/2.
    """
    if method in _READ_METHODS:
        return False
    own = f"http://{headers.get('host', '')}".lower()
    return headers.get("origin", own).lower() != own or headers.get("sec-fetch-site", "").lower() in _OTHER_SITES


def has_json_body(headers: Mapping[str, str]) -> bool:
    """Whether the body, if there is one, is said to be JSON: what no form can say, and no page unasked."""
    if headers.get("content-length", "0").strip() == "0" and "transfer-encoding" not in headers:
        return True
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
