"""Measures an agent that watches very many idle projects.

The figures are the time until all are watched, and then, when nothing happens any more, memory and processor time.
"""

import resource
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import trio

from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.machine import cpu_seconds, now
from benchmarks.memory import SETTLE_S, agent_config, settled_kb
from benchmarks.processes import AGENT, environment, open_agent, open_sender

GOAL_S: Final = 120
GOAL_MIB: Final = 500
FURTHER_FILES: Final = 500
"""Descriptors of a process beside one for each project."""
QUIET_S: Final = 10
"""Seconds without a REST request after which the projects are caught up. A tried request is repeated sooner."""
GOAL_BUSY: Final = 0.1


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Start one agent. The clock stops when each project has its socket and the agent says that it is ready."""
    allow_files(size.crowd + FURTHER_FILES)
    log_progress(f"{size.crowd:,} projects in one process")
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as name:
        folder = Path(name)
        async with open_sender() as sender:
            began = now()
            async with open_agent(folder, agent_config(sender.port, size.crowd)) as pid:
                await sender.command("wait", sockets=size.crowd)
                await _wait_ready(folder)
                watched_s = now() - began
                caught_up_s = (await sender.command("quiet", seconds=QUIET_S))["began"] - began
                mib = await settled_kb(pid) / 1024
                busy = await _busy(pid, size.idle_s)
    label = f"{size.crowd:,} projects in one process"
    return [
        Figure(f"{label}, until all are watched", f"{watched_s:.1f} s", f"within {GOAL_S} s", watched_s <= GOAL_S),
        Figure(f"{label}, until nothing is asked for any more", f"{caught_up_s:.1f} s"),
        Figure(f"{label}, memory", f"{mib:.0f} MiB", f"at most {GOAL_MIB} MiB", mib <= GOAL_MIB),
        Figure(
            f"{label}, nothing happens, processor time",
            f"{busy * 100:.1f} % of a core",
            f"at most {GOAL_BUSY * 100:.0f} %",
            busy <= GOAL_BUSY,
        ),
    ]


def allow_files(number: int) -> None:
    """Allow this process and those that it starts so many open files. Ends the program if the system refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= number or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < number:
        raise SystemExit(
            f"this benchmark needs {number} open files, the limit is {hard}: raise it with `ulimit -n`"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


async def _wait_ready(folder: Path) -> None:
    command = [str(AGENT), "status", "--ready", str(folder / "config.toml")]
    while (await _run(command, folder)).returncode:  # noqa: ASYNC110  # another process is asked
        await trio.sleep(SETTLE_S)


async def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    quiet = subprocess.DEVNULL
    return await trio.run_process(command, env=environment(folder), check=False, stdout=quiet, stderr=quiet)


async def _busy(pid: int, seconds: float) -> float:
    """The share of a core that the agent takes."""
    before, began = cpu_seconds(pid), now()
    await trio.sleep(seconds)
    return (cpu_seconds(pid) - before) / (now() - began)
