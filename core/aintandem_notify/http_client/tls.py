"""Whom TLS trusts; for links as well as for requests, so that one ``ca_file`` is right for both."""

import ssl
from pathlib import Path

import httpx


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts the system's authorities, the bundled public ones, and those in ``ca_file`` (PEM).

    The bundled ones are for systems that have none of their own. Reading the certificates takes some 20 ms:
    share the context. Raises OSError when the file cannot be read, ssl.SSLError (an OSError too) when it holds
    no certificate.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
