"""A nasty case: an orchestrator with arbitrary content, a destination of each kind, the agent as a process.

    async with open_nasty_case(tmp_path) as case:
        async with case.agent():                     # ends with SIGTERM; the exit code must be 0
            await case.live([failed_task("t1", text)])
            await case.catch_up(tasks=[task_row("t2", text)])
        case.check(secrets)

Every end that is sent is due once at each destination: a signed webhook, Slack, a file, the console, and a
one-file plugin.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import trio

from support.agent_process import AgentProcess, whole_lines
from support.fault_case import PROJECT, Case
from support.raw_http import HttpRequest
from support.raw_orchestrator import RawSocket, event_text, frame, open_raw_orchestrator
from support.receivers import SlackReceiver, open_slack_receiver, open_webhook_receiver

ENDS: Final = ("task_failed", "task_completed", "workflow_execution_failed", "sandbox_error")
PLUGIN: Final = """\
import json
from pathlib import Path

from aintandem_notify.api import Notification, Plugin, hookimpl


class Plain(Plugin):
    @hookimpl
    def deliver(self, notification: Notification) -> None:
        run = notification.run
        line = {
            "id": notification.id,
            "event": {"type": notification.event.type, **notification.event.wire()},
            "texts": [notification.title, notification.body, *map(list, notification.fields), notification.thread],
            "run": None if run is None else [run.id, run.name, repr(run)],
            "all": repr(notification),
        }
        with Path("plain.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\\n")
"""
MORE: Final = ("slack.team", "console.here", "plain.mine")
"""The destinations in addition to those of every fault case."""

LONGEST_S: Final = 40.0
"""Seconds after which a missing end counts as lost."""

Happening = tuple[str, str]
"""The type of an end, and the id of the run."""

_IDS: Final = {"task": "taskId", "workflow": "executionId", "sandbox": "sandboxId"}


def mended(text: str) -> str:
    """Returns the text as the agent has it: surrogates replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def happening(event: Mapping[str, Any]) -> Happening:
    """Returns the type and the id of an end."""
    kind = str(event["type"])
    return kind, mended(str(event[_IDS[kind.split("_")[0]]]))


def now() -> str:
    """Returns the current time as an orchestrator writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class NastyCase:
    """See the module. Made by ``open_nasty_case``."""

    def __init__(self, case: Case, slack: SlackReceiver) -> None:
        self.case = case
        self.raw = case.raw
        self.folder = case.folder
        self.slack = slack
        self.due: list[Happening] = []
        self.socket: RawSocket | None = None
        self._rows: dict[str, list[dict[str, Any]]] = {"tasks": [], "executions": [], "sandboxes": []}
        self.raw.rest[f"GET /api/projects/{PROJECT}/tasks"] = self._page("tasks")
        self.raw.rest[f"GET /api/workflows/projects/{PROJECT}/executions"] = self._page("executions")
        self.raw.rest["GET /api/flexy"] = self._page("sandboxes")

    def configure(self, *tables: str) -> None:
        """Writes the config with all destinations, and more tables."""
        (self.folder / "plugins").mkdir()
        (self.folder / "plugins" / "plain.py").write_text(PLUGIN, encoding="utf-8")
        slack = f'webhook_url = "{self.slack.url}"\nrate = "1000/s"\ndigest_over = "never"\n'
        # One rule for all destinations, so that a notification has the same id at each.
        rule = (
            f'[[rules]]\nname = "ends"\nevents = {json.dumps(ENDS)}\n'
            f"notify = {json.dumps([*self.case.destinations, *MORE])}\n"
        )
        self.case.configure(
            f"[plugins.slack.team]\n{slack}", "[plugins.console.here]\n", "[plugins.plain.mine]\n", rule, *tables
        )
        config = self.case.config
        config.write_text(config.read_text().replace('events = ["task_failed"]\n', ""), encoding="utf-8")

    @asynccontextmanager
    async def agent(self, *, environ: Mapping[str, str] | None = None) -> AsyncIterator[AgentProcess]:
        """Runs the agent during the block, after its first connection; ends it with SIGTERM."""
        async with self.case.agent(environ=environ) as agent:
            self.socket = await self.case.connected()
            yield agent

    def expect(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Marks these ends as due."""
        self.due += map(happening, events)

    async def live(self, ends: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]] = ()) -> None:
        """Sends ``others``, then the ends over the socket. Returns once the ends have arrived everywhere."""
        self.expect(ends)
        assert self.socket is not None
        frames = [frame(event_text(**_fields(event))) for event in [*others, *ends]]
        await self.socket.send_bytes_raw(b"".join(frames))
        await self.arrived()

    async def catch_up(
        self,
        tasks: Sequence[dict[str, Any]] = (),
        executions: Sequence[dict[str, Any]] = (),
        sandboxes: Sequence[dict[str, Any]] = (),
        *,
        due: bool = True,
    ) -> None:
        """Ends these runs, and no others, while the agent is disconnected.

        If they are ``due``, returns once they have arrived everywhere.
        """
        for name, rows in (("tasks", tasks), ("executions", executions), ("sandboxes", sandboxes)):
            self._rows[name] = list(rows)
        if due:
            self.due += [("task_failed", mended(str(row["id"]))) for row in tasks]
            self.due += [("workflow_execution_failed", mended(str(row["id"]))) for row in executions]
            self.due += [("sandbox_error", mended(str(row["id"]))) for row in sandboxes]
        assert self.socket is not None
        await self.socket.reset()
        self.socket = await self.case.connected()
        await self.arrived()

    async def arrived(self) -> None:
        """Returns once every due end has reached every destination."""
        with trio.move_on_after(LONGEST_S):
            # Counting is cheap; the full check runs only once the counts fit.
            await self.case.webhook.wait_for(len(self.due))
            await self.slack.wait_for(len(self.due))
            while self.missing():  # noqa: ASYNC110  # files grow without a word
                await trio.sleep(0.3)
            return
        refused = [(error, body[:300]) for error, body in self.slack.refused[:3]]
        raise AssertionError(
            f"not told: {self.missing()}; Slack: {len(self.slack.requests)} requests, refused {refused}"
        )

    def missing(self) -> Mapping[str, list[Happening]]:
        """Returns the due ends that have not arrived, by destination; for the console only their number."""
        missing = {name: sorted(set(self.due) - arrived.keys()) for name, arrived in self.arrivals().items()}
        missing["console.here"] = [
            (kind, str(count)) for kind, count in (self._due_printed() - self._printed()).items()
        ]
        return {name: ends for name, ends in missing.items() if ends}

    def arrivals(self) -> Mapping[str, Counter[Happening]]:
        """Returns how often each end arrived at each destination whose messages name the run."""
        arrived = {
            "webhook.ops": Counter(happening(body["data"]["event"]) for body in self.case.webhook.deliveries),
            "file_log.audit": Counter(happening(line["event"]) for line in whole_lines(self.case.log)),
            "plain.mine": Counter(happening(line["event"]) for line in whole_lines(self.folder / "plain.jsonl")),
        }
        webhook = self.case.webhook
        pairs = zip(webhook.headers, webhook.deliveries, strict=True)
        known = {headers["webhook-id"]: happening(body["data"]["event"]) for headers, body in pairs}
        slack = Counter({known[name]: count for name, count in self.slack.ids.items() if name in known})
        return arrived | {"slack.team": slack}

    def _printed(self) -> Counter[str]:
        lines = (line.split("\t") for agent in self.case.agents for line in agent.stdout)
        return Counter(columns[2] for columns in lines if len(columns) > 2)

    def _due_printed(self) -> Counter[str]:
        return Counter(kind for kind, _ in self.due)

    def check(self, secrets: Iterable[str] = ()) -> None:
        """Checks that every end arrived once everywhere, and that no output has a secret. No agent may run.

        The store is not checked: it keeps events unchanged, since their keys derive from them; only its owner can
        read it.
        """
        for destination, arrived in self.arrivals().items():
            assert arrived == Counter(set(self.due)), destination
        assert self._printed() == self._due_printed()
        assert not self.slack.refused
        assert self.case.stored("SELECT DISTINCT state FROM deliveries") == [("delivered",)]
        paths = [path for path in self.folder.rglob("*") if path.is_file() and path not in self.case.secret_files]
        written = {str(path): path.read_bytes() for path in paths}
        for number, request in enumerate([*self.case.webhook.requests, *self.slack.requests]):
            written[f"request {number}"] = request.body
        for number, agent in enumerate(self.case.agents):
            written[f"output of agent {number}"] = agent.everything.encode()
        places_of = {
            secret: [place for place, content in written.items() if secret.encode() in content]
            for secret in secrets
        }
        leaked = {secret: (places[0], len(places)) for secret, places in places_of.items() if places}
        assert not leaked, leaked

    def _page(self, name: str) -> Callable[[HttpRequest], dict[str, Any]]:
        def answer(request: HttpRequest) -> dict[str, Any]:
            rows = list(reversed(self._rows[name]))
            offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", len(rows)))
            return {name: rows[offset : offset + limit], "total": len(rows), "limit": limit, "offset": offset}

        return answer


def _fields(event: Mapping[str, Any]) -> dict[str, Any]:
    fields = {"projectId": PROJECT, "timestamp": now(), **event}
    return {"event_type": fields.pop("type"), "project_id": fields["projectId"], **fields}


@asynccontextmanager
async def open_nasty_case(folder: Path) -> AsyncIterator[NastyCase]:
    """Opens a configured case in ``folder``. At the end it checks the promises of ``fault_case``."""
    async with (
        open_raw_orchestrator() as raw,
        open_webhook_receiver() as webhook,
        open_slack_receiver() as slack,
    ):
        nasty = NastyCase(Case(folder, raw, webhook), slack)
        store = nasty.case.store
        nasty.case.secret_files |= {store.with_name(store.name + end) for end in ("", "-wal", "-shm")}
        nasty.configure()
        yield nasty
        nasty.case.check()
