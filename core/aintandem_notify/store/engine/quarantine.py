"""Classifies a store file by its header, and puts a damaged one of ours aside. Nothing is ever deleted."""

from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import Final

_MAGIC: Final = b"SQLite format 3\x00"
_APPLICATION_ID_OFFSET: Final = 68
HEADER_BYTES: Final = 100
"""Length of the header of every SQLite file (SQLite file format, section 1.3)."""


class HeaderKind(Enum):
    """The program that a file belongs to, according to its header."""

    OURS = auto()
    EMPTY = auto()
    """Emptied, or cut off before the application id."""
    OTHER_PROGRAM = auto()
    NOT_SQLITE = auto()


def classify_header(header: bytes, application_id: int) -> HeaderKind:
    """Classifies a file by ``header``: its first ``HEADER_BYTES``, or all of a shorter file."""
    if not header.strip(b"\0"):
        return HeaderKind.EMPTY  # empty, or zeroed by the file system after a power cut
    if not header.startswith(_MAGIC):
        return HeaderKind.EMPTY if _MAGIC.startswith(header) else HeaderKind.NOT_SQLITE
    application_id_bytes = header[_APPLICATION_ID_OFFSET : _APPLICATION_ID_OFFSET + 4]
    if len(application_id_bytes) < 4:
        return HeaderKind.EMPTY
    return (
        HeaderKind.OURS
        if int.from_bytes(application_id_bytes, "big") == application_id
        else HeaderKind.OTHER_PROGRAM
    )


def wal_path_of(path: Path) -> Path:
    """The write-ahead log that SQLite keeps beside the file at ``path``."""
    return path.with_name(f"{path.name}-wal")


def quarantine(path: Path, now: datetime) -> Path:
    """Renames the file and its WAL, so that a new store can be created. Returns the file's new path.

    The caller must hold the store's lock. Raises OSError.
    """
    stem = f"{path.name}{_SUFFIX}{now:%Y%m%dT%H%M%SZ}"
    number = 1
    quarantined = path.with_name(stem)
    while quarantined.exists() or wal_path_of(quarantined).exists():
        number += 1
        quarantined = path.with_name(f"{stem}-{number}")
    if wal_path_of(path).exists():
        # The WAL goes first: a file without its WAL would pass for the whole store.
        wal_path_of(path).rename(wal_path_of(quarantined))
    path.rename(quarantined)
    return quarantined


def latest_quarantined(path: Path) -> Path | None:
    """The file that was put aside last from ``path``; None if there is none."""
    candidates = [file for file in path.parent.iterdir() if file.name.startswith(f"{path.name}{_SUFFIX}")]
    return max((file for file in candidates if not file.name.endswith("-wal")), default=None)


_SUFFIX: Final = ".damaged-"
