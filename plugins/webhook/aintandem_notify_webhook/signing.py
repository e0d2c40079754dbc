"""Makes signatures of Standard Webhooks 1.0.0, and reads their secrets."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from aintandem_notify.api import Secret

PREFIX: Final = "whsec_"
MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64
"""Bounds of a key; both from the specification, section "Signature scheme"."""


def signature_headers(secrets: Iterable[Secret], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three webhook headers for exactly this body; without a secret, those two that are no signature.

    ``timestamp`` is the unix time of this attempt in seconds. Several secrets make several signatures, so that a
    receiver can change its secret without losing a notification.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = [_sign(key_of(secret), signed) for secret in secrets]
    return headers | {"webhook-signature": " ".join(signatures)} if signatures else headers


def key_of(secret: Secret) -> bytes:
    """The key in ``whsec_…``; raises ValueError with a text that does not contain the secret."""
    text = secret.reveal()
    if not text.startswith(PREFIX):
        raise ValueError(f"not a signing secret: it begins with {PREFIX}")
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"not a signing secret: the part after {PREFIX} is not base64") from None
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(
            f"not a signing secret: it holds {len(key)} bytes, and must hold {MIN_KEY_BYTES} to {MAX_KEY_BYTES}"
        )
    return key


def _sign(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")
