"""Turns errors of the HTTP libraries into sentences that hold no secret."""

import ssl
from collections.abc import Iterator
from typing import Final

import httpcore

# Words of httpcore and h11 for a connection that ended too early; invalid HTTP raises the same class.
_CUT_OFF: Final = ("disconnected", "peer closed")
# h11's for a head that is longer than httpcore allows, which is 100 KB.
_TOO_LONG: Final = "buffer too long"


def describe(error: Exception, origin: str, *, sent: bool, answered: bool) -> str:
    """The reason why a request to ``origin`` has no answer. An unknown error is named by its class.

    The libraries' texts hold header values and pieces of URLs, so none of them is repeated.
    """
    match error:
        case httpcore.LocalProtocolError():
            return "the request cannot be sent: a header is not valid in HTTP"
        case httpcore.ProxyError():
            return f"the proxy refused to connect to {origin}{_proxy_status(error)}"
        case httpcore.ConnectError():
            return f"TLS with {origin} failed: {_tls_reason(error)}"
        case httpcore.RemoteProtocolError() if _TOO_LONG in str(error).lower():
            return f"{origin} answered with more than 100 KB of headers"
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
    """The status in brackets, without the proxy's own text."""
    status = str(error).partition(" ")[0]
    return f" (HTTP {status})" if status.isdecimal() else ""


def _tls_reason(error: BaseException) -> str:
    """The TLS library's text: ``certificate verify failed: self-signed certificate``."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate verify failed: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.replace("_", " ").lower()
    return "the connection was closed"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
