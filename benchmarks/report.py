"""Prints the figures as a table, and writes them as a page of the documentation."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.machine import Machine

PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_VERDICTS: Final = {True: "met", False: "**missed**", None: ""}

_TEMPLATE: Final = """\
# Benchmarks

Measured on {day}. The table includes figures that miss their goal. One command repeats all measurements, on
Linux, in a few minutes:

```sh
python3 -m venv .venv && .venv/bin/pip install -q -e '.[benchmarks]' && .venv/bin/python -m benchmarks
```

`--write` rewrites this page. The machine: {machine}; load average {before:.1f} before and {after:.1f} after.

| figure | measured | goal | |
|---|---:|---:|---|
{rows}

## How it is measured

Everything runs on loopback. The agent is a separate process, started as a user starts it. Its store is in a
temporary folder (SQLite, write-ahead log, every commit synchronised to the disk).

- **Events a second.** A sender in a third process encodes WebSocket frames of a realistic mix before the clock
  starts: 60 % output, 24 % step progress, the rest starts, ends, artifacts, workflows and sandboxes. Every frame
  is different. It sends them in writes of 256 KiB. The first line has its speed without an agent. The bare loop is
  trio-websocket with the queue and buffer sizes of the agent's own connection; it reads messages and drops them.
  The clock stops when the notification of a last, special event is in the agent's file. By then, everything before
  it is committed and, if every event is delivered, written. All readers, those to a callback too, take turns;
  medians count.
- **No rule matches** means that the only rule names the type of that last event. The agent still stores starts and
  ends in the journal, and keeps every run up to date.
- **Every event to file_log** means that each event is stored in the journal, rendered, queued on disk, written to
  the file and recorded as delivered.
- **To a callback** uses the same sender and mix, but counts calls of a function in three places: as the last stage
  of the agent's receive path, without store and rules; as a subscription to a project with this library; and the
  same with the official SDK (npm `@aintandem/sdk-core` 0.6.0-alpha with `ws`) on Node.js. The cost that the
  library adds is in processor time. The SDK parses JSON and calls; this library also checks types and times.
- **Lost** are the events that never reach the callback. The server sends all of them with its response to the
  handshake, as the server of a busy project does.
- **A frame to an event** is processor time in one process, without a socket. msgspec alone makes the same types,
  without further checks and without the frame that an event remembers. The best of five rounds counts.
- **A flood.** Ten projects get 10,000 events of the mix a second each. A sender in its own process sends them by
  the wall clock, a hundred times a second, whether they are taken or not. The agent takes as many as it can; the
  buffers of the kernel fill, and the rest waits in the sender. The only rule names ends of tasks and workflows.
  The flood is through when the notification of the last event of every project is in the file. Lost are the events
  that the agent's own status does not count. The most memory is the peak of the resident set. It must not depend
  on the length of the flood, so it is compared with that of another agent in a shorter one.
- **Memory** is the resident set, once it has settled, with all projects connected and nothing happening.
- **Many projects in one process** are watched when each has a socket at the sender and `status --ready` agrees.
  Then the agent catches up: it asks over REST for the runs of every project. Once it has asked for nothing for ten
  seconds, memory is measured as above, and the processor time over the next minute: pings, and one record of how
  far the projects are seen.
- **Wall times** are those of whole processes, without the first start.
- **Frame to webhook** is the time over one webhook destination: from the moment before the sender writes the frame
  to the moment at which the receiver has read the request.
- **Durable ingest** is the work between the reader and the destinations, without either. Batches of parsed events
  of the mix go in. They come back when journal, runs, rules, notifications and deliveries are on disk. In one case
  every event leads to a delivery; in the other only the ends do, as with no rules at all. The bare rows are the
  very rows of the first case, inserted by the driver alone in as many transactions.
- **The stages** of rules that name none are compared with an ingest without stages, in pairs that take turns.
  *Held* are failures on SQLite that wait in a group or for the end of quiet hours. The clock of the benchmark
  jumps to the time at which they are due. The memory is that of a process of its own.
- **Noting how far projects are seen** is the record, once a minute, of the time up to which each watched project
  is complete.
- **Queued** deliveries wait for a webhook that refuses connections. Ready is when the agent says that it has
  started and its connection is open. Memory is measured when it has settled.
- **Others dead**: a webhook that is well, beside two more that get the same events, 50 a second. In one run of a
  pair these two are well; in the other run one never answers and one refuses connections. The ratio is the median
  over the pairs. The store is in memory here: slow moments of a disk hit either run of a pair, and are far longer
  than the difference that is measured.
- **A queue** to webhooks: all deliveries wait when the agent starts. The clock runs from the first request that
  the receiver has read to the last; one process receives for all webhooks. Each delivery is a request and a
  transaction. The database's processor time is that of all its processes.
- **Notifications by others.** The agent takes turns with two programs that people use for the same task, each in
  its own process, to the same receiver. Apprise is a library: a program calls it for one notification after the
  other, and whatever the receiver does not take is lost unless that program tries again. Prometheus' Alertmanager
  has every notification in its queue in memory, sends many at a time, and tries again until it is stopped or
  killed; then the queue is lost. The agent has every notification on disk before it sends it, and a kill loses
  none. A program that is not installed is not measured: Apprise comes with the extra `benchmarks`, Alertmanager
  with the package `prometheus-alertmanager` of Debian.
- **Other receivers.** One answers after 100 ms, as receivers on the internet do. One writes its answer in two
  pieces, so that the system holds back the second until the first is acknowledged. One answers every twentieth
  request with 503 and no `Retry-After`; only accepted requests count.
- **Three agents** share one PostgreSQL and the same config. The idle figures start once the number of transactions
  in five seconds no longer falls. A kill is SIGKILL. Watched again means that each project has a socket at the
  orchestrator.
"""


def show(figures: Sequence[Figure], machine: Machine) -> None:
    """Print the table."""
    table = Table(title=machine.describe(), title_justify="left")
    for heading in ("figure", "measured", "goal", ""):
        table.add_column(heading, justify="right" if heading in {"measured", "goal"} else "left")
    for figure in figures:
        verdict = _VERDICTS[figure.met].strip("*")
        style = "red" if figure.met is False else None
        table.add_row(figure.name, figure.measured, figure.goal, verdict, style=style)
    Console().print(table)


def write(figures: Sequence[Figure], machine: Machine, loads: tuple[float, float]) -> Path:
    """Write the page of the documentation. Returns its path."""
    rows = (
        f"| {figure.name} | {figure.measured} | {figure.goal} | {_VERDICTS[figure.met]} |" for figure in figures
    )
    page = _TEMPLATE.format(
        day=date.today().isoformat(),  # noqa: DTZ011  # the day on the machine's own calendar
        machine=machine.describe(),
        before=loads[0],
        after=loads[1],
        rows="\n".join(rows),
    )
    PAGE.write_text(page, encoding="utf-8")
    return PAGE
