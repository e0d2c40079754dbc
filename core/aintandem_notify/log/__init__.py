"""Logging for the whole process, and the one place that keeps secrets out of texts."""

from aintandem_notify.log.error_texts import LONGEST_TEXT, in_words, kind_of, name_of, one_line, same, text_of
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
    announcements,
    hide,
    may_hold_secret,
    redact,
    redact_cut,
    redact_end,
    redact_piece,
    redact_start,
    redact_values,
    tail_opening,
    tail_start,
)
from aintandem_notify.log.secret_encodings import SHORTEST_SECRET

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
    "one_line",
    "redact",
    "redact_cut",
    "redact_end",
    "redact_piece",
    "redact_start",
    "redact_values",
    "same",
    "silence",
    "tail_opening",
    "tail_start",
    "text_of",
]

configure_for_library()
