"""Writing to standard output or standard error, as one write and with words for what can go wrong."""

import errno
import os
from collections.abc import Mapping
from typing import Final, Literal, TextIO

from aintandem_notify.api import DestinationBroken, RetryLater

StreamName = Literal["stdout", "stderr"]

# The reader is gone, the terminal is gone, the descriptor was closed: none of them comes back.
_GONE: Final = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})
_FULL_NAMES: Final[Mapping[StreamName, str]] = {"stdout": "standard output", "stderr": "standard error"}
_WIDTH_WITHOUT_TERMINAL: Final = 100


def knows_colours(environ: Mapping[str, str], platform: str) -> bool:
    """Whether a terminal shows colours and wants them (no-color.org); as far as the environment tells."""
    if environ.get("NO_COLOR") or environ.get("TERM") in {"dumb", "unknown"}:
        return False
    # The old Windows console prints escape sequences as they are; the new one says that it is there.
    return platform != "win32" or "WT_SESSION" in environ or "TERM" in environ


class Output:
    """One of the process's streams. Does not own it and never closes it.

    ``is_terminal`` and ``takes_unicode`` say what it is; both are false for a closed one.
    """

    def __init__(self, name: StreamName, stream: TextIO | None) -> None:
        """``stream`` is None where the process was started without one."""
        self._name = _FULL_NAMES[name]
        self._stream = None if stream is None or stream.closed else stream
        self.is_terminal = self._stream is not None and self._stream.isatty()
        self._encoding = (self._stream.encoding if self._stream is not None else None) or "utf-8"
        self.takes_unicode = _can_encode("✔│", self._encoding)

    def width(self) -> int:
        """Columns of the terminal at this moment; ``COLUMNS`` has the first word, as in most programs."""
        wanted = os.environ.get("COLUMNS", "")
        if wanted.isdecimal() and int(wanted):
            return int(wanted)
        descriptor = self._descriptor()
        try:
            columns = 0 if descriptor is None else os.get_terminal_size(descriptor).columns
        except OSError:
            columns = 0
        return columns or _WIDTH_WITHOUT_TERMINAL

    def write(self, text: str) -> None:
        """Write all of ``text``; raises ``DestinationBroken`` when nobody can read it any more."""
        if self._stream is None or self._stream.closed:
            raise DestinationBroken(f"{self._name} is closed")
        if not self.takes_unicode:
            text = text.replace("…", "...")
        try:
            self._write(self._stream, text.encode(self._encoding, "backslashreplace"))
        except OSError as error:
            if error.errno in _GONE:
                raise DestinationBroken(f"nobody reads {self._name} any more ({error.strerror})") from error
            raise RetryLater(f"cannot write to {self._name}: {error.strerror}") from error

    def _write(self, stream: TextIO, content: bytes) -> None:
        stream.flush()  # what others printed before comes first
        descriptor = self._descriptor()
        if descriptor is None:
            stream.write(content.decode(self._encoding))
            stream.flush()
            return
        # Past the stream's buffer, where the rest of a failed write would stay and fail again at exit.
        while content:
            content = content[os.write(descriptor, content) :]

    def _descriptor(self) -> int | None:
        """The stream's descriptor; None for one that lives in memory only."""
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
