"""Authorizes requests by their host, origin and token. Pure."""

import secrets
from collections.abc import Mapping
from typing import Final

from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.foundation.http_server.cross_site import is_cross_site_write, is_loopback_host

PUBLIC_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""Paths that anybody on this machine may request without a token."""


def authorize(method: str, path: str, headers: Mapping[str, str], token: str) -> RequestRefused | None:
    """Returns the error to answer with; None if the request is allowed. ``headers`` has lower-case names."""
    if not is_loopback_host(headers.get("host", "")):
        return RequestRefused("this host name is not served here; use 127.0.0.1 or localhost", status=403)
    if is_cross_site_write(method, headers):
        return RequestRefused("requests from other sites are refused", status=403)
    if path in PUBLIC_PATHS:
        return None
    if not has_token(headers, token):
        return RequestRefused("a bearer token is needed; read it from the agent's control file", status=401)
    return None


def has_token(headers: Mapping[str, str], token: str) -> bool:
    """True if the request has the bearer token. ``headers`` has lower-case names."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    is_valid = secrets.compare_digest(credentials.strip().encode(), token.encode())
    return scheme.lower() == "bearer" and is_valid
