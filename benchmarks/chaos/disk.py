"""A small disk in memory for an agent's store, which can be filled.

Needs root on Linux; otherwise it is a folder.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from benchmarks.figures import LogProgress

MEGABYTES: Final = 512
_PIECE: Final = bytes(64 * 1024)


class Disk:
    """The disk at ``path``. If ``can_fill``, ``fill`` uses all its space and ``empty`` frees it."""

    def __init__(self, path: Path, *, can_fill: bool) -> None:
        self.path = path
        self.can_fill = can_fill
        self._filler = path / "filler"

    def fill(self) -> None:
        """Use all the free space."""
        with self._filler.open("ab", buffering=0) as filler:
            free = os.statvfs(self.path)
            with suppress(OSError):
                os.posix_fallocate(filler.fileno(), 0, free.f_bavail * free.f_frsize)
            filler.seek(0, os.SEEK_END)
            for size in (len(_PIECE), 4096, 1):
                with suppress(OSError):
                    while True:
                        filler.write(_PIECE[:size])

    def empty(self) -> None:
        """Free the space that ``fill`` used."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, log_progress: LogProgress) -> Iterator[Disk]:
    """Mount a disk at ``path`` for the block."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        log_progress("no disk can be mounted here (that needs root), so none will be full")
        yield Disk(path, can_fill=False)
        return
    try:
        yield Disk(path, can_fill=True)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
