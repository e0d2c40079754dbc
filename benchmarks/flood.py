"""Measures a flood from ten busy projects, which may be more than the agent can take: memory, delay and loss."""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from aintandem_notify.domain.events import Event, restore_event
from aintandem_notify.store import open_storage
from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.frames import ENDS, MARK
from benchmarks.machine import now, peak_kb
from benchmarks.memory import project_tables
from benchmarks.processes import AGENT, environment, open_agent, open_reader, open_sender

PROJECTS: Final = 10
GOAL_MIB: Final = 300
STUCK_S: Final = 60.0
"""Seconds without a further notification after which the rest counts as lost."""
POLL_S: Final = 0.05
GROWTH_GOAL: Final = 1.15
"""Most memory of the long flood, as a ratio to that of the short one."""

_CONFIG: Final = """
[orchestrator]
url = "http://127.0.0.1:{port}"
token = "benchmark"

[store]
url = "sqlite:///{folder}/store.db"

[plugins.file_log.audit]
path = "notifications.jsonl"
events = {events}
"""


@dataclass(frozen=True, slots=True)
class Flooded:
    """A flood of so many ``events`` in so many ``seconds`` that is over.

    ``took_s``: seconds until all of it was through. ``behind``: events that were still in the sender when its time
    was over. ``lost``: those that did not arrive. ``ends`` are due; ``notified`` were in the file exactly once,
    and ``journaled`` in the journal.
    """

    events: int
    seconds: int
    took_s: float
    behind: int
    peak_mib: float
    lost: int
    ends: int = 0
    notified: int = 0
    journaled: int = 0

    @property
    def name(self) -> str:
        """The flood, for the table."""
        return f"a flood of {self.events // self.seconds:,} events/s for {self.seconds} s"


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Flood an agent for a short and for a long time, and a callback of the library for the long one."""
    short, long = size.flooded
    log_progress(f"a flood of {short} s")
    brief = await _flood_agent(size.flood_rate, short)
    log_progress(f"a flood of {long} s")
    agent = await _flood_agent(size.flood_rate, long)
    log_progress(f"a flood of {long} s, to a callback")
    library = await _flood_library(size.flood_rate, long)
    return [*_agent_figures(agent, brief), *_figures(f"{library.name} to a callback of this library", library)]


def _agent_figures(flooded: Flooded, brief: Flooded) -> list[Figure]:
    name, growth = f"{flooded.name} into the agent", flooded.peak_mib / brief.peak_mib
    complete = min(flooded.notified, flooded.journaled)
    return [
        *_figures(name, flooded),
        Figure(
            f"{name}: most memory, ratio to that of {brief.seconds} s",
            f"{growth:.2f}",
            f"at most {GROWTH_GOAL}",
            growth <= GROWTH_GOAL,
        ),
        Figure(
            f"{name}: ends in the file, once, and in the journal",
            f"{complete:,} of {flooded.ends:,}",
            "all",
            complete == flooded.ends,
        ),
    ]


def _figures(name: str, flooded: Flooded) -> list[Figure]:
    return [
        Figure(f"{name}: through", f"{flooded.events / flooded.took_s:,.0f} events/s"),
        Figure(f"{name}: waiting in the sender at its end", f"{flooded.behind:,}"),
        Figure(f"{name}: all through after its end", f"{max(0.0, flooded.took_s - flooded.seconds):.1f} s"),
        Figure(
            f"{name}: most memory",
            f"{flooded.peak_mib:.0f} MiB",
            f"under {GOAL_MIB} MiB",
            flooded.peak_mib < GOAL_MIB,
        ),
        Figure(f"{name}: lost", f"{flooded.lost:,} of {flooded.events:,}", "0", flooded.lost == 0),
    ]


async def _flood_agent(rate: int, seconds: int) -> Flooded:
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as name:
        folder = Path(name)
        log = folder / "notifications.jsonl"
        async with open_sender() as sender:
            config = _CONFIG.format(port=sender.port, folder=folder, events=[*ENDS, MARK])
            async with open_agent(folder, config + project_tables(PROJECTS)) as pid:
                await sender.command("wait", sockets=PROJECTS)
                due = await sender.command("prepare_flood", rate=rate, seconds=seconds)
                flood = await sender.command("flood")
                await _wait_for_lines(log, due["ends"] + PROJECTS)
                took_s, peak_mib = now() - flood["began"], peak_kb(pid) / 1024
                read = await _events_read(folder)
        ends = _ends(log)
        return Flooded(
            PROJECTS * rate * seconds,
            seconds,
            took_s,
            flood["behind"],
            peak_mib,
            lost=PROJECTS * (rate * seconds + 1) - read,
            ends=due["ends"],
            notified=sum(times == 1 for times in ends.values()),
            journaled=await _journaled(f"sqlite:///{folder}/store.db", list(ends)),
        )


async def _wait_for_lines(log: Path, number: int) -> None:
    """Wait until the file has so many lines, or gets no more."""
    lines, progress = 0, now()
    with log.open("rb") as file:
        while lines < number and now() - progress < STUCK_S:
            if arrived := file.read():
                lines, progress = lines + arrived.count(b"\n"), now()
            await trio.sleep(POLL_S)


async def _events_read(folder: Path) -> int:
    """The events that the agent has received, by its own status."""
    status = await trio.run_process(
        [str(AGENT), "status", "--json", str(folder / "config.toml")],
        capture_stdout=True,
        env=environment(folder),
    )
    return sum(int(project["events"]) for project in json.loads(status.stdout)["projects"])


def _ends(log: Path) -> Counter[Event]:
    """The ends in the file, and how often each is in it."""
    with log.open("rb") as lines:
        events = [json.loads(line)["event"] for line in lines]
    return Counter(restore_event(event) for event in events if event["type"] in ENDS)


async def _journaled(url: str, events: Sequence[Event]) -> int:
    """The number of events that are in the journal."""
    async with open_storage(url) as storage:
        return len(await storage.run(lambda store: store.journal.journaled_keys(events)))


async def _flood_library(rate: int, seconds: int) -> Flooded:
    names = [f"project-{number}" for number in range(PROJECTS)]
    async with open_sender() as sender:
        command = [sys.executable, "-m", "benchmarks.readers", "library", str(sender.port), *names]
        async with open_reader(*command) as reader:
            await sender.command("wait", sockets=PROJECTS)
            await sender.command("prepare_flood", rate=rate, seconds=seconds)
            flood = await sender.command("flood")
            marks = [await reader.read() for _ in names]
            peak_mib = peak_kb(reader.pid) / 1024
    lost = PROJECTS * rate * seconds - sum(mark["events"] for mark in marks)
    return Flooded(
        PROJECTS * rate * seconds, seconds, marks[-1]["ended"] - flood["began"], flood["behind"], peak_mib, lost
    )
