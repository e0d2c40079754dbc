"""Sets structlog up: one line for each entry, written to a stream that may be closed or gone.

Part of each entry comes from outside: task output, errors of servers, names. So ``entries`` first removes secrets
from every text, and then all that could end the line, move the cursor or fail to encode.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from aintandem_notify.foundation.clock import local_time
from aintandem_notify.foundation.printable import escape
from aintandem_notify.foundation.stdio.encoding import encode, encode_json
from aintandem_notify.foundation.stdio.journal import PRIORITIES, is_journal, with_priority
from aintandem_notify.foundation.stdio.stderr_thread import plain_loss_notice, threaded_stderr
from aintandem_notify.log.entries import safe_entry, safe_trace
from aintandem_notify.log.error_texts import describe_traceback
from aintandem_notify.log.line_format import OWN_KEYS, json_line, text_line

LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


def get_logger(name: str) -> FilteringBoundLogger:
    """A structured logger: ``log.info("connected", project=…)``. Events are short, fields are keywords."""
    logger: FilteringBoundLogger = structlog.get_logger(logger_name=name)
    return logger


def configure(level: LogLevel = "info", log_format: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Set logging up for the process: to ``stream`` (default: stderr), as text on a terminal, JSON elsewhere.

    Lines for systemd's journal begin with their priority, which the journal takes off.
    """
    _configure(getattr(logging, level.upper()), log_format, stream)


def _configure(minimum: int, log_format: LogFormat, stream: TextIO | None) -> None:
    _configure_structlog(minimum, log_format, stream)
    # Libraries log through the standard module; only their warnings help an operator.
    logging.basicConfig(level=max(minimum, logging.WARNING), handlers=[_Bridge()], force=True)
    logging.captureWarnings(True)


def silence() -> None:
    """Log critical errors only, for commands that report in their own way."""
    _configure(logging.CRITICAL, "auto", None)


def configure_for_library() -> None:
    """The default of the library: warnings and errors to stderr; the standard module stays as it is."""
    if not structlog.is_configured():
        _configure_structlog(logging.WARNING, "text", None)


def _configure_structlog(level: int, log_format: LogFormat, stream: TextIO | None) -> None:
    terminal = bool(out.isatty()) if (out := stream or sys.stderr) is not None else False
    colours = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    readable = log_format == "text" or (log_format == "auto" and terminal)
    renderer: list[Processor] = (
        [_text_safe, lambda _logger, _method, entry: text_line(entry, colours=colours)]
        if readable
        else [
            _json_safe,
            lambda _logger, _method, entry: json_line(entry),
        ]
    )
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        _local_stamp if readable else structlog.processors.TimeStamper(fmt="iso", utc=True),
        _format_exception,
        *renderer,
        *([_with_priority] if is_journal(out) else []),
    ]
    logger = _LineLogger(stream, as_json=not readable)
    if (threaded := threaded_stderr()) is not None:
        threaded.notice = _lost_lines_notice(processors) if level <= logging.WARNING else plain_loss_notice
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_args: logger,
        cache_logger_on_first_use=False,
    )


def _format_exception(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces ``exc_info`` by its traceback; reading an exception of somebody else's class may raise another."""
    raised = entry.pop("exc_info", None)
    error = raised[1] if isinstance(raised, tuple) else sys.exception() if raised is True else raised
    return entry if not error else {**entry, "exception": describe_traceback(error)}


def _local_stamp(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**entry, "timestamp": f"{local_time(datetime.now(UTC)):%H:%M:%S}"}


def _lost_lines_notice(processors: Iterable[Processor]) -> Callable[[int], str]:
    """Returns a function that makes the line about lost lines; its argument is their number."""

    def line(lines: int) -> str:
        entry: Any = {"event": "log lines were lost: standard error did not take them", "lines": lines}
        entry["logger_name"] = __name__
        for process in processors:
            entry = process(None, "warning", entry)
        return str(entry)

    return line


def _text_safe(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    trace = entry.pop("exception", None)
    safe = safe_entry(entry, escape, OWN_KEYS)
    if trace is not None:
        # Indented, so that no line of it can pass for an entry.
        safe["exception"] = "\n".join(f"    {escape(line)}" for line in safe_trace(trace).splitlines())
    return safe


def _json_safe(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    trace = entry.pop("exception", None)
    return safe_entry(entry, str, OWN_KEYS) | ({} if trace is None else {"exception": safe_trace(trace)})


def _with_priority(_logger: object, method: str, line: Any) -> str:
    return with_priority(method if method in PRIORITIES else "info", line)


class _LineLogger:
    """Writes finished lines. A stream that is full, closed or gone never stops the work.

    Our commands have a thread that writes to stderr (``stderr_thread``). In another program, which uses the
    library, the line is written at once.
    """

    def __init__(self, stream: TextIO | None, *, as_json: bool) -> None:
        self._stream = stream
        self._encode = encode_json if as_json else encode
        self._lock = threading.Lock()

    def msg(self, line: str) -> None:
        # stderr is looked up each time, since it may be redirected after we were set up.
        out = self._stream or sys.stderr
        if out is None:
            return
        encoding = getattr(out, "encoding", None) or "utf-8"
        content = self._encode(f"{line}\n", encoding)
        if self._stream is None and (threaded := threaded_stderr()) is not None:
            threaded.write(content)
            return
        with self._lock:
            try:
                out.write(content.decode(encoding))
                out.flush()
            except (OSError, ValueError):  # ValueError: the stream was closed
                return

    debug = info = warning = error = critical = msg


class _Bridge(logging.Handler):
    """Passes the log records of libraries to our own logging, so that they are redacted too."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # a library's own mistake in its format string
            message = str(record.msg)
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        get_logger(record.name).log(level, message, exc_info=record.exc_info or None)
