"""The TLS context of requests and links: both trust the same authorities and the same ``ca_file``."""

import ssl
from pathlib import Path

import httpx


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts the system's authorities, the bundled public ones, and those in ``ca_file`` (PEM).

    The bundled ones are for systems without authorities of their own. Reading the certificates takes some 20 ms:
    share the context. Raises OSError if the file cannot be read, ssl.SSLError (an OSError too) if it holds no
    certificate.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
