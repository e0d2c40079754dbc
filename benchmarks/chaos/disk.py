"""The disk under an agent's store: small, in memory, full on demand. Needs root on Linux; else it is a folder."""

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
    """At ``path``. Where it ``can_fill``, ``fill`` takes all room and ``empty`` gives it back."""

    def __init__(self, path: Path, *, can_fill: bool) -> None:
        self.path = path
        self.can_fill = can_fill
        self._filler = path / "filler"

    def fill(self) -> None:
        """Take all the room that is left."""
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
        """Give it back."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, log_progress: LogProgress) -> Iterator[Disk]:
    """Mounted until the block ends."""
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
