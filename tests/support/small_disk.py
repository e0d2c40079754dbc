"""A real file system of a few megabytes that tests can fill, empty and mount read-only."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.services import require_or_skip

_PIECE = bytes(64 * 1024)


class SmallDisk:
    """A file system that is mounted at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Fills the disk to the last byte."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (len(_PIECE), 4096, 1):
                with suppress(OSError):
                    while True:
                        filler.write(_PIECE[:size])

    def empty(self) -> None:
        """Frees the space that ``fill`` took."""
        self._filler.unlink()

    def cut(self, size: int) -> None:
        """Frees ``size`` bytes of it."""
        os.truncate(self._filler, self._filler.stat().st_size - size)

    def set_read_only(self) -> None:
        """Mounts the disk read-only; no file may be open for writing."""
        _run("mount", "-o", "remount,ro", str(self.path))


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mounts the disk for the duration of the block; needs Linux, and root or sudo without a password."""
    if sys.platform != "linux":
        require_or_skip("a small disk is mounted as Linux does it")
    path.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path))
    try:
        yield SmallDisk(path)
    finally:
        _run("umount", "--lazy", str(path))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk with room for a store with its reserve, and little more."""
    with small_disk(tmp_path / "disk", megabytes=20) as mounted:
        yield mounted


def _run(*command: str) -> None:
    as_root = () if os.geteuid() == 0 else ("sudo", "-n")
    try:
        subprocess.run([*as_root, *command], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        require_or_skip(f"{' '.join(command)}: {getattr(error, 'stderr', '') or error}")
