"""A file that is only ever appended to, whole lines at a time, and that others may rename or remove."""

import contextlib
import errno
import os
import stat
import threading
from pathlib import Path
from typing import Final

from aintandem_notify.api import DestinationBroken, RetryLater, make_folder

# What no waiting mends. Anything else (a full disk, a failing one, no descriptors left) may pass.
_NEEDS_A_PERSON: Final = frozenset(
    {
        errno.EACCES,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.ENXIO,
        errno.EPERM,
        errno.EROFS,
    }
)

# Readable too, to see whether the file ends in the middle of a line.
_OPEN: Final = (
    os.O_RDWR
    | os.O_APPEND
    # Opening a named pipe that nobody reads would hang, and a terminal would become the agent's own.
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    # Only on Windows: line ends stay as they are.
    | getattr(os, "O_BINARY", 0)
)


def outcome(error: OSError, path: Path) -> DestinationBroken | RetryLater:
    """What a failed system call means for the deliveries: wait for a person, or try again."""
    reason = f"cannot write to {path}: {error.strerror or type(error).__name__}"
    return DestinationBroken(reason) if error.errno in _NEEDS_A_PERSON else RetryLater(reason)


class LogFile:
    """Appends lines to the file that stands at ``path`` now, made with mode 0600 if there is none.

    Each line goes out in one write. What was cut short (full disk) is taken back; where that cannot be done,
    or a crash left half a line, the next one starts on a line of its own. ``append`` and ``probe`` raise
    ``RetryLater`` or ``DestinationBroken``; all methods may be called from any thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines_written = 0
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None

    def append(self, line: bytes) -> None:
        """Write ``line``, which ends in a line break; when this returns, the kernel has all of it."""
        with self._lock:
            try:
                _write_all(self._current(), line)
            except OSError as error:
                self._close()  # the next delivery starts afresh, whatever was wrong with this descriptor
                raise outcome(error, self.path) from error
            self.lines_written += 1

    def probe(self) -> None:
        """Try whether the file can be opened, or made, without making or writing anything."""
        try:
            descriptor = os.open(self.path, _OPEN)
            try:
                _check_kind(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            self._probe_folder()
        except OSError as error:
            raise outcome(error, self.path) from error

    def size(self) -> int | None:
        """Bytes in the file, None when there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return None

    def close(self) -> None:
        """Give the descriptor back, unless a thread hangs in a write with it.

        Waiting would hold up the agent's exit, and closing under the thread's feet could hand the number to
        another file, which would then get the line.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()

    def _current(self) -> int:
        """The descriptor of the file at ``path``, opened anew when it is another one by now."""
        if self._descriptor is not None and self._identity != self._identity_at_path():
            self._close()
        if self._descriptor is None:
            self._descriptor = self._open()
            found = _check_kind(self._descriptor)
            self._identity = (found.st_dev, found.st_ino)
            if stat.S_ISREG(found.st_mode) and _ends_mid_line(self._descriptor):
                os.write(self._descriptor, b"\n")
        return self._descriptor

    def _identity_at_path(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116  # half the time of Path.stat, and this is for every line
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> int:
        try:
            return os.open(self.path, _OPEN | os.O_CREAT, 0o600)
        except FileNotFoundError:
            make_folder(self.path.parent)
            return os.open(self.path, _OPEN | os.O_CREAT, 0o600)

    def _probe_folder(self) -> None:
        folder = next(folder for folder in self.path.parents if folder.exists())
        if not folder.is_dir():
            raise DestinationBroken(f"cannot write to {self.path}: {folder} is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise DestinationBroken(f"cannot write to {self.path}: nothing may be made in {folder}")

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _check_kind(descriptor: int) -> os.stat_result:
    found = os.fstat(descriptor)
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISCHR(found.st_mode)):
        raise OSError(errno.EINVAL, "it is neither a file nor a device")
    return found


def _ends_mid_line(descriptor: int) -> bool:
    """Whether the last line was cut; an empty file is at the start of one."""
    if os.lseek(descriptor, 0, os.SEEK_END) == 0:
        return False
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1) != b"\n"


def _write_all(descriptor: int, line: bytes) -> None:
    written = os.write(descriptor, line)
    if written == len(line):
        return
    try:
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        # What cannot be taken back is seen when the file is opened next.
        with contextlib.suppress(OSError):
            _take_back(descriptor, written)
        raise


def _take_back(descriptor: int, written: int) -> None:
    """Remove the ``written`` bytes that were appended last, if nobody appended behind them."""
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    if os.fstat(descriptor).st_size == end:
        os.ftruncate(descriptor, end - written)
