"""Who may ask what: host, origin and token of a request, judged as values."""

import secrets
from collections.abc import Mapping
from typing import Final

from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.foundation.http_server.cross_site import is_cross_site_write, is_loopback_host

PUBLIC_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""What anybody on this machine may ask, without a token."""


def authorize(method: str, path: str, headers: Mapping[str, str], token: str) -> RequestRefused | None:
    """Why the request is refused; None if it is let in. ``headers`` has lower-case names."""
    if not is_loopback_host(headers.get("host", "")):
        return RequestRefused("this host name is not served here; use 127.0.0.1 or localhost", status=403)
    if is_cross_site_write(method, headers):
        return RequestRefused("requests from other sites are refused", status=403)
    if path in PUBLIC_PATHS:
        return None
    scheme, _, given = headers.get("authorization", "").partition(" ")
    known = secrets.compare_digest(given.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not known:
        return RequestRefused("a bearer token is needed; it stands in the agent's control file", status=401)
    return None
