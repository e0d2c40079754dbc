"""Finds the name of this machine's time zone."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

UTC: Final = "UTC"

_ZONES: Final = "zoneinfo/"
"""The folder of all zones; ``/etc/localtime`` is a link to a file below it."""


def machine_time_zone(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> str:
    """The name of the time zone, as ``Europe/Berlin``; ``UTC`` if it cannot be found.

    From ``TZ``, or the files of the system below ``root``.
    """
    candidates = (environ.get("TZ", "").removeprefix(":"), _linked_zone(root), _written_zone(root))
    return next((name.removeprefix("Etc/") for name in candidates if is_time_zone(name)), UTC)


def is_time_zone(name: str) -> bool:
    """True if there is such a time zone."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # a path, a folder, an unknown name
        return False
    return bool(name)


def _linked_zone(root: Path) -> str:
    try:
        target = str((root / "etc" / "localtime").readlink())
    except OSError:  # no such file, or no link
        return ""
    return target.rpartition(_ZONES)[2] if _ZONES in target else ""


def _written_zone(root: Path) -> str:
    try:
        return (root / "etc" / "timezone").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
