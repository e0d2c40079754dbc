"""Formats times for people, and parses the times that they write. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from aintandem_notify.config.types.values import parse_duration
from aintandem_notify.foundation.clock import iso_seconds, local_time

_UNITS: Final[Sequence[tuple[float, str]]] = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(moment: datetime, now: datetime) -> str:
    """Returns ``3 min ago``, ``in 20 s`` or ``now``; in the largest unit that gives at least 1, rounded down."""
    seconds = (now - moment).total_seconds()
    text = _duration_text(abs(seconds))
    if text is None:
        return "now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def _duration_text(seconds: float) -> str | None:
    return next((f"{seconds // size:.0f} {unit}" for size, unit in _UNITS if seconds >= size), None)


def local(moment: datetime, now: datetime) -> str:
    """Returns the local time and its age: ``2026-03-01 12:00:05 (3 min ago)``."""
    return f"{iso_seconds(local_time(moment))} ({ago(moment, now)})"


def parse_time(text: str, now: datetime) -> datetime:
    """Parses ``2h`` (two hours ago), ``2026-03-01`` or ``2026-03-01T12:00`` (local time without a zone).

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
