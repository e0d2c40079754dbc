"""Logging for the whole process, and the one place that keeps secrets out of texts."""

from aintandem_notify.log.foreign import LONGEST_TEXT, in_words, kind_of, name_of, same, text_of
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
    may_hold_secret,
    redact,
    redact_values,
)

__all__ = [
    "HIDDEN",
    "LONGEST_TEXT",
    "MOST_ROTATING",
    "SHORTEST_SECRET",
    "LogFormat",
    "LogLevel",
    "announcements",
    "configure",
    "get_logger",
    "hide",
    "in_words",
    "kind_of",
    "may_hold_secret",
    "name_of",
    "redact",
    "redact_values",
    "same",
    "silence",
    "text_of",
]

configure_for_library()
