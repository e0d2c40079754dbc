"""A wall clock that can be set while a process runs: functions of its own in front of the C library's. On Linux.

libfaketime does that too, but takes over so much more that a sleep in a thread fails, and it needs more processor
time than the agent itself.
"""

import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).with_name("shifted_clock.c")


class ClockUnavailable(Exception):
    """It cannot be made here; the text says why."""


class ShiftedClock:
    """The clock of the processes that get ``environ``; it is right until ``set`` is called.

    What it needs is made in ``folder``. Raises NoSuchClock without a C compiler.
    """

    def __init__(self, folder: Path) -> None:
        self._shift = folder / "clock-shift"
        self.set(0)
        library = folder / "shifted_clock.so"
        self.environ: Mapping[str, str] = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._shift)}
        if not sys.platform.startswith("linux"):
            raise ClockUnavailable("the clock can be set on Linux only")
        try:
            command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE)]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ClockUnavailable(f"no C compiler to set the clock with: {error}") from error

    def set(self, seconds: float) -> None:
        """Let the clock be so many seconds ahead of the right time, or behind it where negative."""
        # In one write into the same file: the processes have it mapped.
        with self._shift.open("r+b" if self._shift.exists() else "wb") as shift:
            shift.write(struct.pack("d", seconds))
