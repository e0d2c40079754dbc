"""The clock of ``benchmarks.chaos`` for tests: where it cannot be made, they are skipped."""

from pathlib import Path

from benchmarks.chaos.clock import ClockUnavailable, ShiftedClock

from support.services import require_or_skip


def shifted_clock(folder: Path) -> ShiftedClock:
    """The clock, with its files in ``folder``."""
    try:
        return ShiftedClock(folder)
    except ClockUnavailable as error:
        require_or_skip(str(error))
