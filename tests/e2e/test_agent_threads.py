"""The agent and the commands under a limit of threads."""

from pathlib import Path

import pytest

from support.agent_process import ended_well, logged, open_agent
from support.commands import run_command
from support.configs import write_config
from support.raw_orchestrator import open_raw_orchestrator

FILE_LOG = '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["task_failed"]\n'
CONSOLE = '[plugins.console.here]\nevents = ["task_failed"]\n'
EVENTS = 20
FEWEST = 4
"""The main thread, the one that watches for the end, the one that writes standard error, and one for all other
work.
"""

LIMIT = """
import threading

for name in ("_start_new_thread", "_start_joinable_thread"):
    if (start := getattr(threading, name, None)) is not None:
        def limited(*args, start=start, **kwargs):
            if threading.active_count() > {most}:  # counts the one that is about to begin
                raise RuntimeError("can't start new thread")
            return start(*args, **kwargs)
        setattr(threading, name, limited)
"""
"""Python enforces the limit: the system's limit counts all processes of a user, and root has none."""


def with_threads(folder: Path, most: int) -> dict[str, str]:
    """Returns environment variables with which Python starts at most ``count`` threads."""
    (folder / "limit").mkdir()
    (folder / "limit" / "sitecustomize.py").write_text(LIMIT.format(most=most))
    return {"PYTHONPATH": str(folder / "limit")}


async def test_all_work_shares_one_thread_where_there_is_no_other(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, FILE_LOG, CONSOLE)
        environ = with_threads(tmp_path, FEWEST)
        async with open_agent("run", config, cwd=tmp_path, environ=environ) as agent:
            connection = await raw.connections.receive()
            for number in range(EVENTS):
                await connection.send_event("task_failed", taskId=f"t{number}")
            await logged(tmp_path, EVENTS)
            await agent.wait_for_output("task_failed", times=EVENTS)
            await ended_well(agent)


@pytest.mark.parametrize(
    ("command", "most"), [("run", 1), ("run", 2), ("check --connect", 1), ("simulate --port 0", 1)]
)
async def test_a_command_that_can_start_none_says_so(command: str, most: int, tmp_path: Path) -> None:
    write_config(tmp_path, "http://127.0.0.1:1", CONSOLE)
    ended = await run_command(*command.split(), cwd=tmp_path, environ=with_threads(tmp_path, most))
    assert ended.code == 1
    *before, last = ended.err.splitlines()
    assert last.startswith("aintandem-notify: the system starts no more threads; ")
    assert all("the event loop is not watched" in line for line in before)  # that thread is the first to miss
