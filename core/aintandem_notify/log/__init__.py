"""Logging for the whole process, and the one place that keeps secrets out of texts."""

from aintandem_notify.log.output import (
    LogFormat,
    LogLevel,
    configure,
    configure_for_library,
    get_logger,
    silence,
)
from aintandem_notify.log.redaction import (
    HIDDEN,
    MOST_ROTATING,
    SHORTEST_SECRET,
    announcements,
    hide,
    in_words,
    may_hold_secret,
    redact,
    redact_values,
)

__all__ = [
    "HIDDEN",
    "MOST_ROTATING",
    "SHORTEST_SECRET",
    "LogFormat",
    "LogLevel",
    "announcements",
    "configure",
    "get_logger",
    "hide",
    "in_words",
    "may_hold_secret",
    "redact",
    "redact_values",
    "silence",
]

configure_for_library()
