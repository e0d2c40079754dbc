"""One case of trouble: an orchestrator, two receivers, the agent as a process, and promises to check at the end.

    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent() as agent:           # ends with SIGTERM; its exit code is checked
            await case.connected()
            await case.fail("t1", "t2")             # from now on each is due at every destination
            await case.arrived()

Leaving the outer block checks the promises: no due notification is lost; a duplicate was in flight at a kill; no
output has a secret; the agent ended as it should and stayed small; the store is sound.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import trio

from aintandem_notify_file_log import FileLog
from aintandem_notify_webhook import Webhook
from support.agent_process import AgentProcess, open_agent, whole_lines
from support.configs import CANARY, write_config
from support.fault_counts import Record
from support.raw_http import HttpRequest
from support.raw_orchestrator import RawOrchestrator, RawSocket, event_text, frame, open_raw_orchestrator
from support.receivers import WEBHOOK_SECRET, WebhookReceiver, open_webhook_receiver

PROJECT: Final = "project-123"
KIND: Final = "task_failed"
"""The one type of event that is due in a case."""

IN_FLIGHT: Final = {
    "webhook.ops": Webhook.parallel * Webhook.in_flight,
    "file_log.audit": FileLog.parallel * FileLog.in_flight,
}
"""Maximum number of deliveries in flight at a kill, by destination; 1 for others."""

MAX_MEMORY_KB: Final = 250 * 1024
"""Limit of the agent's peak resident set; a quiet agent takes a third of it."""

MAX_DESCRIPTORS: Final = 60 + Webhook.parallel
"""Limit of open files and sockets of an agent with a few projects; a quiet agent has some twenty."""

SECRETS: Final = (CANARY, WEBHOOK_SECRET, "pathcanary", "querycanary", "hookcanary", "canarytoken", "c2lnbmF0dXJl")
"""Parts of the password, of the receivers' URLs and keys, and of every token of the orchestrator."""

_POLL_S: Final = 0.05
"""Seconds between two readings of the agent's memory; the kernel keeps the peak, so little is missed."""


class Case:
    """See the module. Made by ``open_case``. A test may change its attributes at any time.

    ``due``: the runs that must be notified. ``unfinished``: destinations where some deliveries may still wait or
    be dead at the end. ``faulty`` allows tracebacks, for plugins that fail on purpose. ``secret_files`` may
    contain secrets. ``fresh_store``: the store was replaced, so that it need not know earlier due runs.
    """

    def __init__(self, folder: Path, raw: RawOrchestrator, webhook: WebhookReceiver) -> None:
        self.folder = folder
        self.raw = raw
        self.webhook = webhook
        self.config = folder / "config.toml"
        self.store = folder / "store.db"
        self.log = folder / "notifications.jsonl"
        self.due: list[str] = []
        self.kills = 0
        self.unfinished: set[str] = set()
        self.faulty = False
        self.fresh_store = False
        self.max_descriptors = MAX_DESCRIPTORS
        self.max_memory_kb = MAX_MEMORY_KB
        self.secret_files = {self.config}
        self.destinations: dict[str, Callable[[], Counter[str]]] = {
            "webhook.ops": lambda: webhook.ids,
            "file_log.audit": self.logged_ids,
        }
        self.agents: list[AgentProcess] = []
        self._tasks: dict[str, dict[str, Any]] = {}
        self._peak_kb = 0
        self._max_open = 0
        raw.rest[f"GET /api/projects/{PROJECT}/tasks"] = self._list_tasks

    def configure(
        self,
        *tables: str,
        webhook: str = "",
        log: str = "",
        url: str | None = None,
        projects: tuple[str, ...] = (PROJECT,),
        only: tuple[str, ...] = ("webhook.ops", "file_log.audit"),
    ) -> Path:
        """Writes the config: both destinations (or those in ``only``), more keys for them, and more tables."""
        built_in = {
            "webhook.ops": f'url = "{self.webhook.url}"\nsecret = "{WEBHOOK_SECRET}"\n{webhook}',
            "file_log.audit": f'path = "{self.log}"\n{log}',
        }
        for name in built_in.keys() - set(only):
            self.destinations.pop(name, None)
        instances = [f'[plugins.{name}]\nevents = ["{KIND}"]\n{built_in[name]}' for name in only]
        store = f'[store]\nurl = "sqlite:///{self.store}"\n'
        return write_config(self.folder, url or self.raw.url, store, *instances, *tables, projects=projects)

    @asynccontextmanager
    async def agent(
        self, *, ends: int = 0, environ: Mapping[str, str] | None = None, seconds: float = 600.0
    ) -> AsyncIterator[AgentProcess]:
        """Runs the agent during the block. ``ends`` is the expected exit code.

        An agent that still runs at the end of the block gets SIGKILL if ``ends`` is that signal, otherwise
        SIGTERM.
        """
        async with open_agent("run", self.config, cwd=self.folder, environ=environ, seconds=seconds) as agent:
            self.agents.append(agent)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, agent)
                yield agent
                if agent.process.returncode is None:
                    self._check_descriptors(agent)
                    agent.process.send_signal(signal.SIGKILL if ends == -signal.SIGKILL else signal.SIGTERM)
                code = await agent.wait()
                nursery.cancel_scope.cancel()
            self.kills += code == -signal.SIGKILL
            assert code == ends, agent.everything

    async def connected(self) -> RawSocket:
        """Returns the agent's next connection."""
        return await self.raw.connections.receive()

    def miss(self, *runs: str) -> list[str]:
        """Lets tasks fail without a frame on the socket; they are due, since REST reports them.

        Returns the unsent frames.
        """
        self.due += runs
        return self.failed(*runs)

    def failed(self, *runs: str) -> list[str]:
        """Lets REST report tasks as failed. Returns the frames about them."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for run in runs:
            times = {"createdAt": moment, "startedAt": moment, "completedAt": moment}
            self._tasks[run] = {"id": run, "taskId": run, "status": "failed", "error": f"{run} broke", **times}
        return [
            event_text(KIND, PROJECT, timestamp=moment, taskId=run, task=run, error=f"{run} broke") for run in runs
        ]

    async def fail(self, *runs: str) -> None:
        """Lets tasks fail, and sends their frames in one write to the newest connection."""
        texts = self.miss(*runs)
        await self.raw.open_sockets[-1].send_bytes_raw(b"".join(map(frame, texts)))

    async def arrived(self) -> None:
        """Returns once every due run has reached the webhook and the file, if these are configured."""
        if "webhook.ops" in self.destinations:
            await self.webhook.server.wait_until(self._webhook_has_all)
        if "file_log.audit" in self.destinations:
            await self.written()

    def _webhook_has_all(self) -> bool:
        # Called after each request; with thousands of runs, the full check runs only once the counts fit.
        return len(self.webhook.deliveries) >= len(self.due) and set(self.due) <= set(self.webhook_runs())

    async def written(self) -> None:
        """Returns once every due run is in the file."""
        # No portable call waits for a file to grow; each round lets the agent run.
        while not set(self.due) <= set(self.logged_runs()):  # noqa: ASYNC110
            await trio.sleep(0.01)

    def webhook_runs(self) -> list[str]:
        """Returns the runs that the webhook received, in order."""
        events = (delivery["data"]["event"] for delivery in self.webhook.deliveries)
        return [event["taskId"] for event in events if event["type"] == KIND]

    def caught_up(self) -> set[str]:
        """Returns those of them that were marked as caught up."""
        payloads = (delivery["data"] for delivery in self.webhook.deliveries if delivery["type"] == KIND)
        return {data["event"]["taskId"] for data in payloads if data["caught_up"]}

    def logged_runs(self) -> list[str]:
        """Returns the runs in the file, in order."""
        return [line["event"]["taskId"] for line in self.lines() if line["event"]["type"] == KIND]

    def lines(self) -> list[dict[str, Any]]:
        """Returns all complete lines of the file."""
        return whole_lines(self.log)

    def logged_ids(self) -> Counter[str]:
        """Returns how often each notification is in the file."""
        return Counter(line["id"] for line in self.lines())

    def stored(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Returns the rows of a query on the store. Only while no agent has it open."""
        with closing(sqlite3.connect(self.store)) as store:
            return store.execute(query, values).fetchall()

    def check(self) -> None:
        """Checks the promises. Called at the end of a block without an error."""
        self._check_secrets()
        assert self._peak_kb < self.max_memory_kb, f"{self._peak_kb} KiB"
        if self.store.exists():
            assert self.stored("PRAGMA quick_check") == [("ok",)]
            for destination, received in self._received().items():
                self._check_destination(destination, received)

    def record_figures(self, record: Record) -> None:
        """Returns the figures of the case. They are right once ``check`` has passed."""
        record("due", len(self.due))
        record("kills", self.kills)
        for name, received in self._received().items():
            copies, may = received.total() - len(received), self.kills * IN_FLIGHT.get(name, 1)
            if copies or may:
                record(f"copies at {name}", f"{copies} ({may})")
        record("peak_mib", self._peak_kb // 1024)
        record("descriptors", self._max_open)

    def _received(self) -> dict[str, Counter[str]]:
        return {name: received() for name, received in self.destinations.items()}

    def _check_destination(self, destination: str, received: Counter[str]) -> None:
        rows = self.stored(
            "SELECT e.type, e.run_id, d.notification_id, d.state FROM deliveries d"
            " JOIN notifications n ON n.id = d.notification_id JOIN events e ON e.key = n.event_key"
            " WHERE d.destination = ?",
            destination,
        )
        notified = {run for kind, run, _, _ in rows if kind == KIND}
        journaled = {run for (run,) in self.stored("SELECT run_id FROM events WHERE type = ?", KIND)}
        states = {notification: state for _, _, notification, state in rows}
        if not self.fresh_store:
            lost = ({*self.due} | journaled) - notified
            assert not lost, f"{destination} was never to get {sorted(lost)[:10]}"
            unknown = received.keys() - states
            assert not unknown, (
                f"{destination} got notifications that the store does not know: {sorted(unknown)[:10]}"
            )
        missing = {name for name, state in states.items() if state == "delivered" and not received[name]}
        assert not missing, f"{destination} never got {sorted(missing)[:10]}"
        # A notice of the agent itself may be due when it ends, as one that a destination is well again.
        waiting = {name: state for _, run, name, state in rows if run and state not in ("delivered", "folded")}
        assert destination in self.unfinished or not waiting, f"{destination}: {waiting}"
        repeats = received.total() - len(received)
        assert repeats <= self.kills * IN_FLIGHT.get(destination, 1), (
            f"{destination}: {repeats} came twice after {self.kills} kills"
        )

    def _check_secrets(self) -> None:
        for agent in self.agents:
            for secret in SECRETS:
                assert secret not in agent.everything, f"the agent wrote {secret}"
            assert self.faulty or "Traceback" not in agent.everything, agent.everything
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self.secret_files:
                content = path.read_bytes()
                for secret in SECRETS:
                    assert secret.encode() not in content, f"{secret} stands in {path}"

    async def _watch(self, agent: AgentProcess) -> None:
        while True:
            self._peak_kb = max(self._peak_kb, peak_kb(agent.process.pid))
            await trio.sleep(_POLL_S)

    def _check_descriptors(self, agent: AgentProcess) -> None:
        open_files = descriptors(agent.process.pid)
        self._max_open = max(self._max_open, len(open_files))
        assert len(open_files) <= self.max_descriptors, open_files

    def _list_tasks(self, request: HttpRequest) -> dict[str, Any]:
        offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", 50))
        newest_first = list(reversed(self._tasks.values()))
        page = newest_first[offset : offset + limit]
        return {"tasks": page, "total": len(newest_first), "limit": limit, "offset": offset}


def peak_kb(pid: int) -> int:
    """Returns the peak resident set of the process in units of 1,024 bytes; 0 if the system does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def virtual_bytes(pid: int) -> int:
    """Returns all memory that the process has allocated, used or not; RLIMIT_AS limits it."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def processor_seconds(pid: int) -> float:
    """Returns the processor time of the process; 0 if the system does not say."""
    try:
        # The name of the program, in brackets, may contain spaces; the fields are counted after it.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> list[str]:
    """Returns the open files of the process; empty if the system does not say."""
    try:
        return [_target(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed since
        return ""


@asynccontextmanager
async def open_case(folder: Path, record: Record | None = None) -> AsyncIterator[Case]:
    """Opens a case in ``folder``. Checks its promises at the end of a block without an error.

    Then calls ``record`` with its figures.
    """
    async with open_raw_orchestrator() as raw, open_webhook_receiver() as webhook:
        case = Case(folder, raw, webhook)
        yield case
        case.check()
        if record is not None:
            case.record_figures(record)
