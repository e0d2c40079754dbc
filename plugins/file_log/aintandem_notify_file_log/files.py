"""Appends whole lines to a file that other programs may rename or remove."""

import contextlib
import errno
import os
import stat
import threading
from pathlib import Path
from typing import Final

from aintandem_notify.api import DestinationBroken, RetryLater, make_folder

# Errors that no wait repairs. Others (a full or failing disk, no free descriptors) may pass.
_PERMANENT_ERRORS: Final = frozenset(
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

# Readable, too: a check finds out whether the file ends in the middle of a line.
_OPEN_FLAGS: Final = (
    os.O_RDWR
    | os.O_APPEND
    # Without them, a named pipe without a reader would hang, and a terminal would become the controlling one.
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    # On Windows only: keeps line ends unchanged.
    | getattr(os, "O_BINARY", 0)
)


def outcome(error: OSError, path: Path) -> DestinationBroken | RetryLater:
    """The outcome for a failed system call: DestinationBroken for a permanent error, else RetryLater."""
    reason = f"cannot write to {path}: {error.strerror or type(error).__name__}"
    return DestinationBroken(reason) if error.errno in _PERMANENT_ERRORS else RetryLater(reason)


class LogFile:
    """Appends lines to the file that is currently at ``path``; creates it with mode 0600.

    Each line is one write. A line that was cut short (full disk) is removed. If that fails, or a crash left half a
    line, the next line starts with a line break. ``append`` and ``probe`` raise ``RetryLater`` or
    ``DestinationBroken``; all methods may be called from any thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines_written = 0
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None

    def append(self, line: bytes) -> None:
        """Write ``line``, which ends in a line break; on return the kernel has all of it."""
        with self._lock:
            try:
                _write_all(self._current_descriptor(), line)
            except OSError as error:
                self._close()  # the next delivery opens the file again
                raise outcome(error, self.path) from error
            self.lines_written += 1

    def probe(self) -> None:
        """Check that the file can be opened or created; creates and writes nothing."""
        try:
            descriptor = os.open(self.path, _OPEN_FLAGS)
            try:
                _check_file_type(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            self._probe_folder()
        except OSError as error:
            raise outcome(error, self.path) from error

    def size(self) -> int | None:
        """The file's size in bytes; None without a file."""
        try:
            return self.path.stat().st_size
        except OSError:
            return None

    def close(self) -> None:
        """Close the descriptor, unless a thread hangs in a write to it.

        Waiting would delay the agent's exit. Closing it during the write could give its number to another file,
        which would then get the line.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()

    def _current_descriptor(self) -> int:
        """The descriptor of the file at ``path``; opens the file again if it was replaced."""
        if self._descriptor is not None and self._identity != self._identity_at_path():
            self._close()
        if self._descriptor is None:
            self._descriptor = self._open()
            status = _check_file_type(self._descriptor)
            self._identity = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode) and _ends_mid_line(self._descriptor):
                os.write(self._descriptor, b"\n")
        return self._descriptor

    def _identity_at_path(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)  # noqa: PTH116  # half the time of Path.stat, and this runs for every line
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _open(self) -> int:
        try:
            return os.open(self.path, _OPEN_FLAGS | os.O_CREAT, 0o600)
        except FileNotFoundError:
            make_folder(self.path.parent)
            return os.open(self.path, _OPEN_FLAGS | os.O_CREAT, 0o600)

    def _probe_folder(self) -> None:
        folder = next(folder for folder in self.path.parents if folder.exists())
        if not folder.is_dir():
            raise DestinationBroken(f"cannot write to {self.path}: {folder} is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise DestinationBroken(f"cannot write to {self.path}: no permission to create files in {folder}")

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _check_file_type(descriptor: int) -> os.stat_result:
    status = os.fstat(descriptor)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode)):
        raise OSError(errno.EINVAL, "it is neither a file nor a device")
    return status


def _ends_mid_line(descriptor: int) -> bool:
    """True if the file's last line has no line break; False for an empty file."""
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
        # If this fails, the next opening of the file detects the half line.
        with contextlib.suppress(OSError):
            _truncate(descriptor, written)
        raise


def _truncate(descriptor: int, written: int) -> None:
    """Remove the last ``written`` bytes, unless another process has appended since."""
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    if os.fstat(descriptor).st_size == end:
        os.ftruncate(descriptor, end - written)
