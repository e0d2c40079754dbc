"""A wall clock that can be set while a process runs, by replacing functions of the C library. Linux only.

libfaketime replaces so many more functions that a sleep in a thread fails, and it uses more processor time than
the agent itself.
"""

import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).with_name("shifted_clock.c")


class ClockUnavailable(Exception):
    """The clock cannot be set on this machine; the text gives the reason."""


class ShiftedClock:
    """The clock of processes that run with ``environ``. It is correct until ``set`` is called.

    Its files are created in ``folder``. Raises ClockUnavailable without a C compiler and on other systems than
    Linux.
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
        """Set the clock so many seconds ahead of the correct time, or behind it if negative."""
        # A single write into the same file, which the processes have mapped.
        with self._shift.open("r+b" if self._shift.exists() else "wb") as shift:
            shift.write(struct.pack("d", seconds))
