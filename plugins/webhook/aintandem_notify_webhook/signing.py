"""Signatures of Standard Webhooks 1.0.0, and the secrets they are made with."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from aintandem_notify.api import Secret

PREFIX: Final = "whsec_"
SHORTEST_KEY: Final = 24
LONGEST_KEY: Final = 64
"""Bytes; both from the specification, section "Signature scheme"."""


def signature_headers(secrets: Iterable[Secret], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers for these exact bytes; without a secret there is no signature.

    ``timestamp`` is the unix time of this attempt in seconds. Several secrets give several signatures, so that
    a receiver can change from one to the next without losing anything in between.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = [_sign(key_of(secret), signed) for secret in secrets]
    return headers | {"webhook-signature": " ".join(signatures)} if signatures else headers


def key_of(secret: Secret) -> bytes:
    """The key in ``whsec_…``; raises ValueError with a sentence that does not hold the secret."""
    text = secret.reveal()
    if not text.startswith(PREFIX):
        raise ValueError(f"not a signing secret: it begins with {PREFIX}")
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"not a signing secret: what follows {PREFIX} is not base64") from None
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(
            f"not a signing secret: it holds {len(key)} bytes, and must hold {SHORTEST_KEY} to {LONGEST_KEY}"
        )
    return key


def _sign(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")
