"""The cost of watches: open runs that each have a timer, in memory and when all are due, and for ingest.

Times are of the processor, as the machine may be busy with other things.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from aintandem_notify.config.load import load
from aintandem_notify.config.watch_config import WatchConfig
from aintandem_notify.domain.events import Event, TaskOutputEvent, TaskStartedEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.ingest import open_ingest
from aintandem_notify.plugins.discovery.catalog import Catalog
from aintandem_notify.rules import JinjaRuleLanguage, Router
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import open_storage
from aintandem_notify.watches.watch import watches_of

PROJECT = Project(id="p", name="Sales")
CONFIG = """
[orchestrator]
url = "simulator"
[[projects]]
id = "p"
[plugins.console.me]
"""


class Clock:
    """A clock that the benchmark moves."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def capped_now(self) -> datetime:
        return self.moment


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(count: int, with_watch: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(CONFIG)
        config = load(path, catalog=Catalog(), language=JinjaRuleLanguage())
        watches = (WatchConfig(name="hung", kind="stalled", silent_for=900.0),) if with_watch else ()
        config = replace(config, watches=watches)
        clock, router = Clock(), Router(config)
        async with (
            open_storage(Path(folder) / "store.sqlite3", clock=clock) as storage,
            open_ingest(
                storage,
                router=router,
                clock=clock,
                publish=lambda *_: None,
                wake=lambda _: None,
                listening=lambda: False,
            ) as ingest,
        ):
            ingest.use(router, StagePolicy.of(config), watches_of(config))
            ingest.releases.begin(lambda _project: True)
            before, began = peak_mib(), time.process_time()
            for start in range(0, count, 1000):
                events: list[Event] = [
                    TaskStartedEvent(timestamp=clock.now(), project_id="p", task_id=f"t{number}", task="train")
                    for number in range(start, min(count, start + 1000))
                ]
                await ingest.commit(PROJECT, events)
            starts_s = time.process_time() - began
            began = time.process_time()
            for _ in range(20):
                await ingest.commit(
                    PROJECT,
                    [
                        TaskOutputEvent(
                            timestamp=clock.now(), project_id="p", task_id=f"t{number % 500}", output="x\n"
                        )
                        for number in range(4000)
                    ],
                )
            outputs_s = time.process_time() - began
            print(
                f"{starts_s / count * 1e6:.1f} {outputs_s / 80_000 * 1e6:.2f} {peak_mib() - before:.1f}", end=" "
            )
            if with_watch:
                clock.moment += timedelta(seconds=901)
                began = time.process_time()
                await ingest.releases.release()
                print(f"{(time.process_time() - began) / count * 1e6:.0f} {peak_mib() - before:.1f}")
            else:
                print()


def run(count: int, with_watch: bool) -> list[float]:
    arguments = [sys.executable, __file__, "--count", str(count), "--only", "with" if with_watch else "without"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="open runs with a timer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["with", "without"], help="measure in this process")
    options = parser.parse_args()
    if options.only is not None:
        trio.run(measure, options.count, options.only == "with")
        return
    rounds = [(run(options.count, False), run(options.count, True)) for _ in range(options.rounds)]
    best = [[min(values) for values in zip(*sides, strict=True)] for sides in zip(*rounds, strict=True)]
    (start, output, memory), (start_w, output_w, memory_w, due, memory_due) = best
    print(f"{options.count} open runs with a timer each, best of {options.rounds} rounds, processor time")
    print(f"a start: {start:.1f} µs without, {start_w:.1f} µs with a watch")
    print(f"a piece of output: {output:.2f} µs without, {output_w:.2f} µs with a watch")
    print(
        f"memory: {memory:.1f} MiB without, {memory_w:.1f} MiB with a watch, {memory_due:.1f} MiB when all are due"
    )
    print(f"each when due: {due:.0f} µs, told")


if __name__ == "__main__":
    main()
