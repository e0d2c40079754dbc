"""Logging for the whole process, and the one place that keeps secrets out of texts.

Every secret of the config is announced with ``hide``; ``redact`` then removes it, and whatever looks like a
token, from any text. Log lines, errors, the store's error texts and rendered notifications all pass through.
"""

import logging
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import FilteringBoundLogger, Processor

LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

HIDDEN: Final = "[redacted]"
# Shorter ones would turn half of every text into asterisks and are no secrets worth the name.
SHORTEST_SECRET: Final = 4

_secrets: set[str] = set()
_secrets_lock = threading.Lock()
_secret_pattern: re.Pattern[str] | None = None

# (what must be in the text for the pattern to be worth trying, the pattern, what to put there)
_TOKENS: Final[tuple[tuple[str, re.Pattern[str], str], ...]] = (
    ("eyJ", re.compile(r"eyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), HIDDEN),
    ("xox", re.compile(r"xox[a-z]-[\w-]{8,}"), HIDDEN),
    ("xapp-", re.compile(r"xapp-[\w-]{8,}"), HIDDEN),
    ("whsec_", re.compile(r"whsec_[\w+/=-]{8,}"), HIDDEN),
    ("hooks.slack.com", re.compile(r"(hooks\.slack\.com/)[\w/-]+"), rf"\1{HIDDEN}"),
    (
        "uthorization",
        re.compile(r"""([Aa]uthorization["']?\s*[:=]\s*["']?(?:[Bb]earer |[Bb]asic )?)[^\s"',]+"""),
        rf"\1{HIDDEN}",
    ),
    ("earer ", re.compile(r"([Bb]earer )[\w.~+/=-]{8,}"), rf"\1{HIDDEN}"),
    ("oken=", re.compile(r"([Tt]oken=)[^\s&\"']+"), rf"\1{HIDDEN}"),
)


def hide(secret: str) -> None:
    """Keep ``secret`` out of every text from now on, also where it stands percent-encoded in a URL."""
    global _secret_pattern
    if len(secret) < SHORTEST_SECRET:
        return
    with _secrets_lock:
        _secrets.update({secret, quote(secret, safe="")})
        longest_first = sorted(_secrets, key=len, reverse=True)
        _secret_pattern = re.compile("|".join(map(re.escape, longest_first)))


def redact(text: str) -> str:
    """``text`` without announced secrets and without what looks like a token."""
    if _secret_pattern is not None:
        text = _secret_pattern.sub(HIDDEN, text)
    for hint, pattern, replacement in _TOKENS:
        if hint in text:
            text = pattern.sub(replacement, text)
    return text


def redact_values(value: Any) -> Any:
    """As ``redact``, for every text inside JSON values; keys are kept."""
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {key: redact_values(item) for key, item in value.items()}
        case list() | tuple():
            return [redact_values(item) for item in value]
        case _:
            return value


def get_logger(name: str) -> FilteringBoundLogger:
    """A structured logger: ``log.info("connected", project=…)``. Events are short, facts are keywords."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


def configure(level: LogLevel = "info", log_format: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Set logging up for the process: to ``stream`` (stderr), for people on a terminal, JSON elsewhere."""
    out = stream or sys.stderr
    readable = log_format == "text" or (log_format == "auto" and out.isatty())
    renderer: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if readable else "iso", utc=not readable),
            *renderer,
            _redact_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard module; only what they warn of is of use to an operator.
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_Bridge()], force=True)
    logging.captureWarnings(True)


def _redact_line(_logger: object, _method: str, line: str | MutableMapping[str, Any]) -> Any:
    return redact(line) if isinstance(line, str) else line


class _Bridge(logging.Handler):
    """Hands the records of libraries to our own logging, so that they are redacted too."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)
