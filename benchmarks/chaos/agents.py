"""The agents: real processes, started as a user starts them, and restarted after they were ended."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from benchmarks.chaos.ledger import TERMINAL, Arrival, Ledger, run_end_of
from benchmarks.machine import now
from benchmarks.processes import AGENT, environment

POLL_S: Final = 0.1
"""Seconds between two readings of a file or of a process."""
SHUTDOWN_TIMEOUT_S: Final = 60.0
"""Seconds for an agent to shut down."""

_CONFIG: Final = """\
[orchestrator]
url = "{url}"
username = "admin"
password = "admin123"

[connection]
connect_timeout = "3s"
heartbeat_interval = "2s"
reconnect_initial_delay = "200ms"
reconnect_max_delay = "2s"

[store]
url = "{store}"

[plugins.webhook.steady]
url = "{steady}"

[plugins.webhook.moody]
url = "{moody}"
timeout = "15s"

[plugins.file_log.audit]
path = "notifications.jsonl"

[[rules]]
name = "ends"
events = {events}
notify = ["webhook.steady", "webhook.moody", "file_log.audit"]
"""


@dataclass(slots=True)
class Agent:
    """An agent and its restarts.

    ``kills`` counts SIGKILL. ``unexpected_exits`` are exit codes of processes that ended by themselves,
    and wrong ones of processes that were told to end.
    """

    folder: Path
    environ: Mapping[str, str]
    ledger: Ledger
    kills: int = 0
    starts: int = 0
    peak_kb: int = 0
    unexpected_exits: list[int] = field(default_factory=list)
    process: trio.Process | None = None
    _bytes_read: int = 0
    _log_start: int = 0
    _restart_lock: trio.Lock = field(default_factory=trio.Lock)

    async def start(self) -> None:
        """Start a process. Its output is appended to ``agent.log``."""
        with (self.folder / "agent.log").open("ab") as log:
            self._log_start = log.seek(0, os.SEEK_END)
            self.process = await trio.lowlevel.open_process(
                [str(AGENT), "run", str(self.folder / "config.toml")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environ,
            )
        self.starts += 1

    async def end(self, number: signal.Signals) -> None:
        """Send a signal that ends the process, and wait for its end."""
        if self.process is None:
            return
        self.process.send_signal(number)
        with trio.fail_after(SHUTDOWN_TIMEOUT_S):
            code = await self.process.wait()
        self.process = None
        expected = {signal.SIGKILL: -signal.SIGKILL}.get(number, 0)
        if code != expected:
            self.unexpected_exits.append(code)
        self.kills += number is signal.SIGKILL

    async def restart(self, number: signal.Signals, pause_s: float) -> None:
        """End the process with a signal, and start a new one after a pause.

        Signals other than SIGKILL are sent only once the agent has started.
        """
        async with self._restart_lock:
            if number is not signal.SIGKILL:
                await self.wait_started()
            await self.end(number)
            await trio.sleep(pause_s)
            await self.start()

    async def reload(self) -> None:
        """Send SIGHUP once the agent has started. Earlier, SIGHUP would end it, as any program."""
        async with self._restart_lock:
            await self.wait_started()
            if self.process is not None:
                self.process.send_signal(signal.SIGHUP)

    async def wait_started(self) -> None:
        """Wait until the present process has logged "started", or is gone."""
        while self.process is not None and b'"event": "started"' not in self._logged():  # noqa: ASYNC110  # another process's file
            await trio.sleep(POLL_S)

    def _logged(self) -> bytes:
        """The log of the present process."""
        with (self.folder / "agent.log").open("rb") as log:
            log.seek(self._log_start)
            return log.read()

    async def watch(self) -> None:
        """Sample memory, unexpected exits and the lines of its file until cancelled."""
        while True:
            self.sample()
            if not self._restart_lock.locked():
                await self._restart_if_ended()
            await trio.sleep(POLL_S)

    async def _restart_if_ended(self) -> None:
        """Restart a process that has ended by itself, and note its exit code."""
        async with self._restart_lock:
            if self.process is not None and (code := self.process.poll()) is not None:
                self.unexpected_exits.append(code)
                await self.start()

    def sample(self) -> None:
        """Sample the memory once, and read new lines of the file."""
        if self.process is not None:
            self.peak_kb = max(self.peak_kb, _peak_kb(self.process.pid))
        path = self.folder / "notifications.jsonl"
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._bytes_read)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._bytes_read += len(whole)
        for line in whole.splitlines():
            self._record_line(line)

    def _record_line(self, line: bytes) -> None:
        try:
            notification: dict[str, Any] = json.loads(line)
        except ValueError:
            return  # cut short by a kill; every whole notification has a line of its own
        if notification["event"]["type"] in TERMINAL:
            arrival = Arrival(notification["id"], run_end_of(notification["event"]), now())
            self.ledger.arrivals["file_log.audit"].append(arrival)

    @property
    def tracebacks(self) -> int:
        """Number of tracebacks in its log."""
        return (self.folder / "agent.log").read_bytes().count(b"Traceback")


def write_config(folder: Path, *, url: str, store: str, hooks: Mapping[str, str], projects: Sequence[str]) -> None:
    """Write ``config.toml`` of one agent."""
    text = _CONFIG.format(url=url, store=store, events=json.dumps(TERMINAL), **hooks)
    text += "".join(f'\n[[projects]]\nid = "{project}"\n' for project in projects)
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(text, encoding="utf-8")


def process_environment(folder: Path, extra: Mapping[str, str]) -> Mapping[str, str]:
    """Environment variables of an agent's process."""
    return {**environment(folder), "PYTHONFAULTHANDLER": "1", **extra}


def _peak_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
