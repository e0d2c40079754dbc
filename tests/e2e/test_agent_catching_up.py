"""Runs that end while the agent is disconnected are notified once. Agent and simulator are separate processes."""

import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from support.agent_process import AgentProcess, ended_well, logged, open_agent
from support.configs import CANARY, write_config

PROJECT = "project-123"
FILE_LOG = '[plugins.file_log.audit]\npath = "notifications.jsonl"\n'
RULE = """
[[rules]]
name = "all"
events = ["task_started", "task_completed", "task_failed", "task_cancelled", "feed_gap"]
notify = ["file_log.audit"]
"""
NEVER_S = 1e6
"""Seconds that a task takes if the test itself ends it."""
ENDS = {"task_completed", "task_failed", "task_cancelled"}


@dataclass
class Bench:
    folder: Path
    url: str
    token: str = ""

    async def post(self, path: str, **content: object) -> Any:
        """Sends a request to the simulator."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, json.dumps(content).encode(), headers)
        return await trio.to_thread.run_sync(_answer, request)

    async def until_ended(self, task_id: str) -> None:
        """Waits until the orchestrator reports the task's end."""
        headers = {"Authorization": f"Bearer {self.token}"}
        path = f"{self.url}/api/projects/{PROJECT}/tasks/{task_id}"
        while True:
            request = urllib.request.Request(path, headers=headers)
            answer = await trio.to_thread.run_sync(_answer, request)
            if answer["completedAt"]:
                return
            await trio.sleep(0.02)

    async def cancel(self, task_id: str) -> None:
        """Ends a running task."""
        await self.post(f"/api/projects/{PROJECT}/tasks/{task_id}/cancel")

    async def submit(self, seconds: float) -> str:
        body = {"task": "Train", "input": {}, "outcome": "failed", "seconds": seconds}
        answer = await self.post(f"/api/projects/{PROJECT}/tasks", **body)
        return str(answer["taskId"])

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[AgentProcess]:
        config = write_config(self.folder, self.url, FILE_LOG, RULE, projects=(PROJECT,))
        config.write_text(config.read_text().replace(CANARY, "admin123"))
        async with open_agent("run", config, cwd=self.folder) as agent:
            await agent.wait_for_log('"connected"')
            yield agent

    async def until(self, event_type: str, count: int = 1) -> list[dict[str, Any]]:
        """Returns the notified events once there are ``count`` of this type."""
        lines: list[dict[str, Any]] = []
        while sum(line["event"]["type"] == event_type for line in lines) < count:
            lines = await logged(self.folder, len(lines) + 1)
        return [line["event"] for line in lines]


def _answer(request: urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


@asynccontextmanager
async def open_bench(folder: Path) -> AsyncIterator[Bench]:
    away = folder / "simulator"
    away.mkdir()
    async with open_agent("simulate", "--port", "0", "--speed", "20", "--project", "busy", cwd=away) as simulator:
        url = (await simulator.wait_for_output("http://")).split()[2].rstrip(",")
        bench = Bench(folder, url)
        login = await bench.post("/api/auth/login", username="admin", password="admin123")
        bench.token = login["token"]
        yield bench


def ends(events: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    return [
        (event["type"], event["taskId"], event.get("caughtUp", False)) for event in events if event["type"] in ENDS
    ]


async def test_an_end_in_a_cut_is_told_once_and_a_later_attempt_again(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench, bench.agent() as agent:
        task = await bench.submit(seconds=NEVER_S)
        await bench.until("task_started")
        # The socket is silent and seems alive; the agent misses the end before the socket is cut.
        await bench.post("/simulator/faults", fault="stall", projectId=PROJECT)
        await bench.cancel(task)
        await bench.post("/simulator/faults", fault="drop", projectId=PROJECT, reset=True)
        events = await bench.until("feed_gap")
        assert ends(events) == [("task_cancelled", task, True)]
        (gap,) = [event for event in events if event["type"] == "feed_gap"]
        assert (gap["changed"], gap["tooOld"], gap["incomplete"]) == (1, 0, False)
        await bench.post(
            "/simulator/faults", fault="rerun", projectId=PROJECT, taskId=task, outcome="failed", seconds=1
        )
        events = await bench.until("task_failed")
        assert ends(events) == [("task_cancelled", task, True), ("task_failed", task, False)]
        await ended_well(agent)
    assert ends(await bench.until("task_failed")) == ends(events)


async def test_an_end_after_a_kill_is_told_once_at_the_next_start(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        async with bench.agent() as agent:
            known = await bench.submit(seconds=NEVER_S)
            await bench.until("task_started")
            agent.kill()
            await agent.wait()
        unknown = await bench.submit(seconds=1)
        await bench.cancel(known)
        await bench.until_ended(unknown)
        for count in (1, 2):
            async with bench.agent() as agent:
                events = await bench.until("feed_gap", count)
                assert sorted(ends(events)) == sorted(
                    [("task_cancelled", known, True), ("task_failed", unknown, True)]
                )
                await ended_well(agent)
