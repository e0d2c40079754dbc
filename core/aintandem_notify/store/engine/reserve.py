"""A file beside the store that reserves disk space and holds the store's lock.

A full disk refuses every write, including the record that a delivery was sent. Truncating this file makes room for
such records. The file is locked while the store is open, independently of the store's own file.
"""

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from aintandem_notify.errors import StoreInUse
from aintandem_notify.store.engine.database_errors import SQLITE_MESSAGES

if sys.platform != "win32":
    import fcntl

RESERVE_BYTES: Final = 4 * 1024 * 1024
"""Bytes that an agent reserves; enough to record some ten thousand deliveries."""

_SUSPECT_MARK: Final = b"suspect"
_CHUNK_BYTES: Final = 64 * 1024


class Reserve:
    """The file ``NAME-reserve`` of ``size`` bytes, locked until ``close``. ``release`` truncates it to zero bytes.

    Raises OSError when it cannot be created, StoreError when another agent has locked it.
    """

    def __init__(self, store: Path, size: int) -> None:
        self.path: Path = store.with_name(f"{store.name}-reserve")
        self._size = size
        self._closed = False
        self._is_new = not self.path.exists()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self.is_locked: bool = self._lock(store)
            self.is_suspect: bool = os.read(self._file, len(_SUSPECT_MARK)) == _SUSPECT_MARK
        except BaseException:
            os.close(self._file)
            raise

    def _lock(self, store: Path) -> bool:
        if sys.platform != "win32":  # Windows lets nobody replace an open file
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreInUse(f"store {store}: {SQLITE_MESSAGES['SQLITE_BUSY']}") from None
            except OSError:
                return False  # a file system without locks; SQLite's own lock may still work
        return True

    @property
    def is_whole(self) -> bool:
        """Whether the space is reserved now."""
        return os.fstat(self._file).st_size >= self._size

    @property
    def shortage(self) -> str:
        """The message for the operator when the space cannot be reserved."""
        return f"the disk is nearly full; new work waits until {2 * self._size // 1_000_000} MB are free"

    def release(self) -> bool:
        """Frees the reserved space. Returns False if it was free already, or could not be freed."""
        if os.fstat(self._file).st_size == 0:
            return False
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            return True
        return False

    def restore(self) -> bool:
        """Reserves the space again if twice as much is free. Returns whether it is reserved now.

        With less free space the next few events would fill the disk again.
        """
        if self.is_whole:
            return True
        with suppress(OSError):
            if shutil.disk_usage(self.path.parent).free >= 2 * self._size:
                self._fill(2 * self._size)
                os.ftruncate(self._file, self._size)
                return True
        self.release()
        return False

    def mark_suspect(self) -> None:
        """Makes the next start check the store thoroughly."""
        self.is_suspect = True
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, _SUSPECT_MARK)

    def clear_suspect(self) -> None:
        """Removes the mark: the store passed the check or was put aside."""
        if self.is_suspect:
            self.is_suspect = False
            self.release()

    def close(self, *, leave_nothing: bool = False) -> None:
        """Releases the lock; later calls do nothing. ``leave_nothing`` removes a file that this object created."""
        if self._closed:
            return
        self._closed = True
        if leave_nothing and self._is_new:
            with suppress(OSError):
                self.path.unlink()
        os.close(self._file)

    def _fill(self, size: int) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, 0, size)
            return
        os.lseek(self._file, 0, os.SEEK_SET)
        for _ in range(0, size, _CHUNK_BYTES):
            os.write(
                self._file, os.urandom(_CHUNK_BYTES)
            )  # random, so that a compressing file system stores all of it
        os.fsync(self._file)
