"""Logging for the whole process, and redaction: the one place that removes secrets from texts."""

from aintandem_notify.log.checked_texts import CheckedTexts
from aintandem_notify.log.error_texts import (
    MAX_ERROR_TEXT,
    describe_error,
    error_kind,
    error_name,
    is_equal,
    redact_to_one_line,
    safe_text,
)
from aintandem_notify.log.output import (
    LogFormat,
    LogLevel,
    configure,
    configure_for_library,
    get_logger,
    silence,
)
from aintandem_notify.log.redaction import (
    MAX_ROTATING_SECRETS,
    REDACTED,
    may_be_split,
    may_hold_part,
    may_hold_secret,
    redact,
    redact_cut,
    redact_end,
    redact_piece,
    redact_start,
    redact_values,
    register_secret,
    secrets_generation,
    tail_prefix,
    tail_start,
)
from aintandem_notify.log.secret_encodings import MIN_SECRET_CHARACTERS

__all__ = [
    "MAX_ERROR_TEXT",
    "MAX_ROTATING_SECRETS",
    "MIN_SECRET_CHARACTERS",
    "REDACTED",
    "CheckedTexts",
    "LogFormat",
    "LogLevel",
    "configure",
    "describe_error",
    "error_kind",
    "error_name",
    "get_logger",
    "is_equal",
    "may_be_split",
    "may_hold_part",
    "may_hold_secret",
    "redact",
    "redact_cut",
    "redact_end",
    "redact_piece",
    "redact_start",
    "redact_to_one_line",
    "redact_values",
    "register_secret",
    "safe_text",
    "secrets_generation",
    "silence",
    "tail_prefix",
    "tail_start",
]

configure_for_library()
