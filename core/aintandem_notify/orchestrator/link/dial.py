"""Opens the byte stream under a WebSocket: TCP, through a proxy if configured, with TLS if the URL asks for it."""

import os
import re
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from aintandem_notify.config import DIRECT, Outbound
from aintandem_notify.config.types.outbound import Proxy
from aintandem_notify.errors import ConfigError, HttpFailed, LinkLost, Problem
from aintandem_notify.http_client.tcp_connect import connect
from aintandem_notify.http_client.tls import tls_context
from aintandem_notify.orchestrator.protocol.address import Endpoint

MAX_PROXY_RESPONSE_BYTES: Final = 16384
"""Bytes of a proxy's response to CONNECT; common servers allow as many for all headers together."""
TlsContext = Callable[[], ssl.SSLContext]
"""Returns the context that all links share; it is made when the first link needs TLS."""
_PROXY_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """As ``tls_context``, so that links and HTTP requests trust the same authorities. Raises ConfigError."""
    try:
        return tls_context(ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "no certificates"
        raise ConfigError([Problem(f"cannot use {ca_file}: {reason}", key="connection.ca_file")]) from error


async def open_stream(endpoint: Endpoint, *, tls: TlsContext, outbound: Outbound = DIRECT) -> trio.abc.Stream:
    """A stream to the endpoint, which the caller closes. Has no deadline of its own.

    Raises LinkLost, with a message that holds no credentials.
    """
    proxy = outbound.proxy_for(endpoint.host, endpoint.port)
    first_hop = endpoint if proxy is None else Endpoint(proxy.host, proxy.port, proxy.tls)
    dial = partial(trio.open_tcp_stream, port=first_hop.port)
    try:
        stream: trio.abc.Stream = await connect(first_hop.host, first_hop.port, dial, outbound)
    except HttpFailed as error:
        raise LinkLost(error.reason) from error
    try:
        if proxy is not None:
            stream = await _wrap_in_tls(stream, first_hop, tls)
            await _open_tunnel(stream, endpoint, proxy)
        return await _wrap_in_tls(stream, endpoint, tls)
    except BaseException:  # also if cancelled: nobody else knows the stream yet
        await trio.aclose_forcefully(stream)
        raise


async def _wrap_in_tls(stream: trio.abc.Stream, endpoint: Endpoint, tls: TlsContext) -> trio.abc.Stream:
    if not endpoint.tls:
        return stream
    # https_compatible: do not wait for the peer's close_notify, which many servers never send.
    tls_stream = trio.SSLStream(stream, tls(), server_hostname=endpoint.host, https_compatible=True)
    try:
        await tls_stream.do_handshake()
    except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError, ValueError) as error:
        raise LinkLost(f"no TLS with {endpoint.authority}: {_describe_tls_error(error)}") from error
    return tls_stream


async def _open_tunnel(stream: trio.abc.Stream, endpoint: Endpoint, proxy: Proxy) -> None:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    target = f"{host}:{endpoint.port}"
    login = [] if proxy.authorization is None else [f"Proxy-Authorization: {proxy.authorization}"]
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *login, "", ""]
    try:
        await stream.send_all("\r\n".join(lines).encode())
        response = await _read_head(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise LinkLost("the proxy broke the connection") from error
    status = _PROXY_STATUS.match(response)
    if status is None:
        raise LinkLost("the proxy does not speak HTTP")
    if not status[1].startswith(b"2"):
        raise LinkLost(f"the proxy refused to connect us (HTTP {status[1].decode()})")


async def _read_head(stream: trio.abc.Stream) -> bytes:
    """The response up to its empty line. Nothing can follow it: the server behind the proxy waits for us."""
    response = bytearray()
    while b"\r\n\r\n" not in response:
        received = await stream.receive_some(4096)
        response += received
        if not received or len(response) > MAX_PROXY_RESPONSE_BYTES:
            raise LinkLost("the proxy gave no whole answer")
    return bytes(response)


def _describe_tls_error(error: BaseException) -> str:
    """The TLS library's text, without its error numbers and source positions."""
    match error.__cause__ if isinstance(error, trio.BrokenResourceError) else error:
        case ssl.SSLCertVerificationError() as refused:
            return refused.verify_message
        case ssl.SSLError() as failed:
            return (failed.reason or "TLS error").replace("_", " ").lower()
        case OSError(errno=int(number)):
            return os.strerror(number)
        case ValueError():
            return "no certificate can be for such a name"
        case _:
            return "the connection was closed"
