"""Describes the machine, and reads processor time and memory of processes. Linux only: reads /proc."""

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
    """The machine. ``memory_gib`` is its total memory."""

    cores: int
    processor: str
    memory_gib: float
    system: str
    python: str

    @classmethod
    def here(cls) -> "Machine":
        """The machine that this process runs on."""
        return cls(
            cores=len(os.sched_getaffinity(0)),
            processor=_fields(Path("/proc/cpuinfo")).get("model name", platform.machine()),
            memory_gib=_kilobytes(_fields(Path("/proc/meminfo"))["MemTotal"]) / 2**20,
            system=f"{platform.system()} {platform.release()}",
            python=f"{platform.python_implementation()} {platform.python_version()}",
        )

    def describe(self) -> str:
        """The machine in one line of text."""
        return (
            f"{self.cores} cores ({self.processor}), {self.memory_gib:.0f} GiB of memory, "
            f"{self.system}, {self.python}"
        )


def cpu_seconds(pid: int) -> float:
    """Processor seconds of all threads of the process, in user and kernel mode."""
    return sum(map(int, _stat(pid)[11:13])) / TICKS_PER_S


def process_tree_cpu_seconds(pid: int) -> float:
    """Processor seconds of a process and its children, also of those that have ended."""
    ticks = sum(map(int, _stat(pid)[11:15]))
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = _stat(int(path.parent.name))
        except FileNotFoundError:  # the process has ended meanwhile
            continue
        ticks += sum(map(int, fields[11:13])) if int(fields[1]) == pid else 0
    return ticks / TICKS_PER_S


def peak_kb(pid: int) -> int:
    """Peak resident set size of the process in units of 1,024 bytes."""
    return _kilobytes(_fields(Path(f"/proc/{pid}/status"))["VmHWM"])


def resident_kb(pid: int) -> int:
    """Resident set size in units of 1,024 bytes."""
    return _kilobytes(_fields(Path(f"/proc/{pid}/status"))["VmRSS"])


def load_average() -> float:
    """Load average of the last minute. Beyond the benchmark's own two processes, the load disturbs the figures."""
    return os.getloadavg()[0]


def now() -> float:
    """Seconds on a clock that all processes of the machine share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def _stat(pid: int) -> Sequence[str]:
    # The program's name, in brackets, may contain spaces: the fields are counted after it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _fields(path: Path) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in path.read_text().splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _kilobytes(value: str) -> int:
    return int(value.removesuffix(" kB"))
