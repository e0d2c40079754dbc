"""Writes to standard output or standard error without a buffer, and translates errors into outcomes."""

import errno
import os
from collections.abc import Mapping
from typing import Final, Literal, TextIO

from aintandem_notify.api import DestinationBroken, RetryLater

StreamName = Literal["stdout", "stderr"]

# The pipe has no reader, the terminal is gone, or the descriptor is closed: no retry helps.
_READER_GONE: Final = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})
_FULL_NAMES: Final[Mapping[StreamName, str]] = {"stdout": "standard output", "stderr": "standard error"}
_WIDTH_WITHOUT_TERMINAL: Final = 100


def supports_colours(environ: Mapping[str, str], platform: str) -> bool:
    """True if the environment says that terminals support colours and want them (no-color.org)."""
    if environ.get("NO_COLOR") or environ.get("TERM") in {"dumb", "unknown"}:
        return False
    # The old Windows console prints escape sequences as text; the new one sets WT_SESSION.
    return platform != "win32" or "WT_SESSION" in environ or "TERM" in environ


class Output:
    """Writes to one of the process's streams, which it does not own and never closes.

    ``is_terminal`` and ``takes_unicode`` describe the stream; for a closed one ``is_terminal`` is false.
    """

    def __init__(self, name: StreamName, stream: TextIO | None) -> None:
        """``stream`` is None if the process was started without it."""
        self._name = _FULL_NAMES[name]
        self._stream = None if stream is None or stream.closed else stream
        self.is_terminal = self._stream is not None and self._stream.isatty()
        self._encoding = (self._stream.encoding if self._stream is not None else None) or "utf-8"
        self.takes_unicode = _can_encode("✔│", self._encoding)

    def width(self) -> int:
        """The terminal's columns at this moment; the variable ``COLUMNS`` comes first, as in most programs."""
        variable = os.environ.get("COLUMNS", "")
        if variable.isdecimal() and int(variable):
            return int(variable)
        descriptor = self._descriptor()
        try:
            columns = 0 if descriptor is None else os.get_terminal_size(descriptor).columns
        except OSError:
            columns = 0
        return columns or _WIDTH_WITHOUT_TERMINAL

    def write(self, text: str) -> None:
        """Write all of ``text``; raises DestinationBroken if its reader is gone, RetryLater for other errors."""
        if self._stream is None or self._stream.closed:
            raise DestinationBroken(f"{self._name} is closed")
        if not self.takes_unicode:
            text = text.replace("…", "...")
        try:
            self._write(self._stream, text.encode(self._encoding, "backslashreplace"))
        except OSError as error:
            if error.errno in _READER_GONE:
                raise DestinationBroken(f"nobody reads {self._name} any more ({error.strerror})") from error
            raise RetryLater(f"cannot write to {self._name}: {error.strerror}") from error

    def _write(self, stream: TextIO, content: bytes) -> None:
        stream.flush()  # earlier prints come first
        descriptor = self._descriptor()
        if descriptor is None:
            stream.write(content.decode(self._encoding))
            stream.flush()
            return
        # Not through the stream's buffer: it would keep the rest of a failed write and fail again at exit.
        while content:
            content = content[os.write(descriptor, content) :]

    def _descriptor(self) -> int | None:
        """The stream's descriptor; None for a stream in memory."""
        try:
            return None if self._stream is None else self._stream.fileno()
        except (AttributeError, OSError):
            return None


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
