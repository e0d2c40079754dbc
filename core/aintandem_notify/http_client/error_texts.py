"""The libraries' errors as sentences without anything that may be secret."""

import ssl
from collections.abc import Iterator
from typing import Final

import httpcore

# How httpcore and h11 say that the connection ended too early; they have one class for this and for nonsense.
_CUT_OFF: Final = ("disconnected", "peer closed")


def describe(error: Exception, origin: str, *, sent: bool, answered: bool) -> str:
    """Why a request to ``origin`` has no answer. Total: an error that is not known is named by its class.

    The libraries' own words hold header values and pieces of URLs, so none of them is repeated.
    """
    match error:
        case httpcore.LocalProtocolError():
            return "the request cannot be sent: a header holds what HTTP does not allow"
        case httpcore.ProxyError():
            return f"the proxy opened no way to {origin}{_proxy_status(error)}"
        case httpcore.ConnectError():
            return f"TLS with {origin} failed: {_tls_reason(error)}"
        case httpcore.RemoteProtocolError() if not any(word in str(error) for word in _CUT_OFF):
            return f"{origin} answered with something that is not HTTP"
        case httpcore.NetworkError() | httpcore.TimeoutException() | httpcore.RemoteProtocolError():
            manner = "in the middle of its answer" if answered else "without an answer"
            return f"{origin} closed the connection {manner}"
        case _ if sent:
            return f"the answer of {origin} cannot be read ({type(error).__name__})"
        case _:
            return f"the request to {origin} cannot be sent ({type(error).__name__})"


def _proxy_status(error: httpcore.ProxyError) -> str:
    """Without the proxy's own words, which are anybody's."""
    status = str(error).partition(" ")[0]
    return f" (HTTP {status})" if status.isdecimal() else ""


def _tls_reason(error: BaseException) -> str:
    """What the TLS library says, ``certificate verify failed: self-signed certificate``."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate verify failed: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.replace("_", " ").lower()
    return "the connection was closed"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the nearest first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
