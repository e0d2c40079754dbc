"""A file beside the store that keeps some room free for bad times, and shows that an agent is at work on it.

A full disk refuses every change, also the one that a delivery has gone out. Giving this file up makes the room
for that. It is locked for as long as the store is open, which no state of the store's own file can prevent.
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
"""What an agent keeps free; enough for some ten thousand deliveries to be recorded."""

_SUSPECT_MARK: Final = b"suspect"
_CHUNK_BYTES: Final = 64 * 1024


class Reserve:
    """The file ``NAME-reserve`` of ``size`` bytes, locked until ``close``; it is there but empty once given up.

    Raises OSError when it cannot be made, StoreError when another agent has it.
    """

    def __init__(self, store: Path, size: int) -> None:
        self.path = store.with_name(f"{store.name}-reserve")
        self._size = size
        self._closed = False
        self._new = not self.path.exists()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self.is_locked = self._lock(store)
            self.is_suspect = os.read(self._file, len(_SUSPECT_MARK)) == _SUSPECT_MARK
        except BaseException:
            os.close(self._file)
            raise

    def _lock(self, store: Path) -> bool:
        if sys.platform != "win32":  # there nobody can take away a file that somebody has open
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreInUse(f"store {store}: {SQLITE_MESSAGES['SQLITE_BUSY']}") from None
            except OSError:
                return False  # a file system without locks; the store's own lock may do better
        return True

    @property
    def is_whole(self) -> bool:
        """Whether the room is kept now."""
        return os.fstat(self._file).st_size >= self._size

    @property
    def shortage(self) -> str:
        """What is wrong when it cannot be made."""
        return f"the disk is nearly full, {2 * self._size // 1_000_000} MB free are needed to go on"

    def release(self) -> bool:
        """Free the room; false when it was free already."""
        if os.fstat(self._file).st_size == 0:
            return False
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            return True
        return False

    def restore(self) -> bool:
        """Keep the room again, if there is twice as much of it; whether it is kept now.

        Were there less, the next few events would fill the disk once more.
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
        """Have the next start look at the store more closely."""
        self.is_suspect = True
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, _SUSPECT_MARK)

    def clear_suspect(self) -> None:
        """The store has been looked at and is fine, or is set aside."""
        if self.is_suspect:
            self.is_suspect = False
            self.release()

    def close(self, *, leave_nothing: bool = False) -> None:
        """Let others have the store, once. ``leave_nothing`` removes a file that was not there before."""
        if self._closed:
            return
        self._closed = True
        if leave_nothing and self._new:
            with suppress(OSError):
                self.path.unlink()
        os.close(self._file)

    def _fill(self, size: int) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, 0, size)
            return
        os.lseek(self._file, 0, os.SEEK_SET)
        for _ in range(0, size, _CHUNK_BYTES):
            os.write(self._file, os.urandom(_CHUNK_BYTES))  # a file system that compresses must not see through it
        os.fsync(self._file)
