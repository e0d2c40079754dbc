"""What the figures were measured on, and how a process is looked at from outside. Linux only: reads /proc."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Machine:
    """The size of the machine; ``memory_gib`` counts all of it."""

    cores: int
    processor: str
    memory_gib: float
    system: str
    python: str

    @classmethod
    def here(cls) -> "Machine":
        """The one that this runs on."""
        return cls(
            cores=len(os.sched_getaffinity(0)),
            processor=_fields(Path("/proc/cpuinfo")).get("model name", platform.machine()),
            memory_gib=_kilobytes(_fields(Path("/proc/meminfo"))["MemTotal"]) / 2**20,
            system=f"{platform.system()} {platform.release()}",
            python=f"{platform.python_implementation()} {platform.python_version()}",
        )

    def describe(self) -> str:
        """One line."""
        return (
            f"{self.cores} cores ({self.processor}), {self.memory_gib:.0f} GiB of memory, "
            f"{self.system}, {self.python}"
        )


def cpu_seconds(pid: int) -> float:
    """Processor time that the process has used, in user and in kernel mode, all threads."""
    return sum(map(int, _stat(pid)[11:13])) / TICKS_PER_S


def process_tree_cpu_seconds(pid: int) -> float:
    """The same of a process and all that it has started itself, also of what has ended since."""
    ticks = sum(map(int, _stat(pid)[11:15]))
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = _stat(int(path.parent.name))
        except FileNotFoundError:  # it has ended meanwhile
            continue
        ticks += sum(map(int, fields[11:13])) if int(fields[1]) == pid else 0
    return ticks / TICKS_PER_S


def peak_kb(pid: int) -> int:
    """The largest that the process's memory has been, in units of 1,024 bytes."""
    return _kilobytes(_fields(Path(f"/proc/{pid}/status"))["VmHWM"])


def resident_kb(pid: int) -> int:
    """Resident set size in units of 1,024 bytes."""
    return _kilobytes(_fields(Path(f"/proc/{pid}/status"))["VmRSS"])


def load_average() -> float:
    """Processes that wanted to run in the last minute, on average; beyond the benchmark's own two it is noise."""
    return os.getloadavg()[0]


def now() -> float:
    """Seconds on a clock that all processes of the machine share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def _stat(pid: int) -> Sequence[str]:
    # The name of the program, in brackets, may hold spaces; the fields are counted from behind it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _fields(path: Path) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in path.read_text().splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _kilobytes(value: str) -> int:
    return int(value.removesuffix(" kB"))
