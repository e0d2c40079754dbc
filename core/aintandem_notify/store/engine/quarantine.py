"""A store file that cannot be used: whose it is, and how ours is put aside. Nothing is ever deleted."""

from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import Final

_MAGIC: Final = b"SQLite format 3\x00"
_ID_AT: Final = 68
HEADER_BYTES: Final = 100
"""What SQLite keeps at the beginning of every file (its file format, section 1.3)."""


class Owner(Enum):
    """Whose a file is, going by its header."""

    OURS = auto()
    NOBODY = auto()
    """Emptied, or cut off before the place where the owner stands."""
    ANOTHER = auto()
    NO_DATABASE = auto()


def owner_of(header: bytes, application_id: int) -> Owner:
    """Whose the file is that begins with ``header``, its first ``HEADER_BYTES`` or all there is of it."""
    if not header.strip(b"\0"):
        return Owner.NOBODY  # nothing at all, or what some file systems leave after a power cut
    if not header.startswith(_MAGIC):
        return Owner.NOBODY if _MAGIC.startswith(header) else Owner.NO_DATABASE
    mark = header[_ID_AT : _ID_AT + 4]
    if len(mark) < 4:
        return Owner.NOBODY
    return Owner.OURS if int.from_bytes(mark, "big") == application_id else Owner.ANOTHER


def wal_of(path: Path) -> Path:
    """Where SQLite keeps what is not folded into the file yet."""
    return path.with_name(f"{path.name}-wal")


def set_aside(path: Path, now: datetime) -> Path:
    """Rename the file and its WAL so that a new store can begin; where the file is now. Raises OSError.

    Only for whoever holds the store's lock.
    """
    stem = f"{path.name}{_MARK}{now:%Y%m%dT%H%M%SZ}"
    number = 1
    aside = path.with_name(stem)
    while aside.exists() or wal_of(aside).exists():
        number += 1
        aside = path.with_name(f"{stem}-{number}")
    if wal_of(path).exists():
        wal_of(path).rename(wal_of(aside))  # first: a file without its WAL would pass for the whole store
    path.rename(aside)
    return aside


def latest_aside(path: Path) -> Path | None:
    """The file that was put aside last in favour of ``path``; None when there is none."""
    found = [one for one in path.parent.iterdir() if one.name.startswith(f"{path.name}{_MARK}")]
    return max((one for one in found if not one.name.endswith("-wal")), default=None)


_MARK: Final = ".damaged-"
