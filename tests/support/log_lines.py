"""The lines that code logs."""

import io
import json
import secrets
from typing import Any

from aintandem_notify import log


def lines(write: Any, log_format: log.LogFormat = "json", level: log.LogLevel = "debug") -> str:
    """The lines that ``write(logger)`` writes."""
    stream = io.StringIO()
    log.configure(level, log_format, stream)
    write(log.get_logger("agent"))
    return stream.getvalue()


def entry(write: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(lines(write))
    return loaded


def fresh_secret(more: str = "") -> str:
    """A secret that no other test registers."""
    secret = secrets.token_hex(8) + more
    log.register_secret(secret)
    return secret
