"""Who may ask what: host, origin and token of a request, judged as values."""

import ipaddress
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from aintandem_notify.control.refusal import Refused

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""What anybody on this machine may ask, without a token."""

_READS: Final = frozenset({"GET", "HEAD"})


def refusal(method: str, path: str, headers: Mapping[str, str], token: str) -> Refused | None:
    """Why the request is refused; None if it is let in. ``headers`` has lower-case names.

    A page in somebody's browser may reach this port: by a name of its own that it has pointed at 127.0.0.1
    (DNS rebinding: the host is wrong then), or by sending a form here (the origin is another then, also that of
    a page which another program of this machine serves at a port of its own).
    """
    host = headers.get("host", "")
    if not _is_here(host):
        return Refused("this host name is not served here; use 127.0.0.1 or localhost", status=403)
    own = f"http://{host}".lower()
    if method not in _READS and headers.get("origin", own).lower() != own:
        return Refused("requests from other sites are refused", status=403)
    if path in OPEN_PATHS:
        return None
    scheme, _, given = headers.get("authorization", "").partition(" ")
    known = secrets.compare_digest(given.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not known:
        return Refused("a bearer token is needed; it stands in the agent's control file", status=401)
    return None


def _is_here(place: str) -> bool:
    """Whether ``host[:port]`` is a name of this machine that nobody else can give away."""
    try:
        host = urlsplit(f"//{place}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
