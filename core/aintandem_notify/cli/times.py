"""Moments as people say them, and as they write them. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from aintandem_notify.config.types.values import parse_duration
from aintandem_notify.foundation.clock import iso_seconds, local_time

_UNITS: Final[Sequence[tuple[float, str]]] = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(moment: datetime, now: datetime) -> str:
    """``3 min ago``, ``in 20 s`` or ``now``, in the largest unit that is at least one, rounded down."""
    seconds = (now - moment).total_seconds()
    words = _length(abs(seconds))
    if words is None:
        return "now"
    return f"{words} ago" if seconds > 0 else f"in {words}"


def _length(seconds: float) -> str | None:
    return next((f"{seconds // size:.0f} {unit}" for size, unit in _UNITS if seconds >= size), None)


def local(moment: datetime, now: datetime) -> str:
    """The local time with how long ago that is: ``2026-03-01 12:00:05 (3 min ago)``."""
    return f"{iso_seconds(local_time(moment))} ({ago(moment, now)})"


def parse_time(text: str, now: datetime) -> datetime:
    """The moment in ``2h`` (so long ago), ``2026-03-01`` or ``2026-03-01T12:00`` (local, if it names no zone).

    Raises ValueError.
    """
    try:
        return now - timedelta(seconds=parse_duration(text))
    except ValueError:
        pass
    except OverflowError:
        raise ValueError(text) from None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        return moment
    try:
        return moment.astimezone()
    except (OverflowError, ValueError, OSError):  # as in ``local_time``
        return moment.replace(tzinfo=UTC)
