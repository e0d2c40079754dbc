"""The agent as its own process in unusual environments: variables, time zones, limits, signal masks."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.agent_process import ended_well, logged, open_agent
from support.configs import write_config
from support.nasty.configs import ENVIRONMENTS
from support.nasty.process import LIMITS
from support.nasty.times import ODD_ZONES
from support.raw_orchestrator import open_raw_orchestrator

FILE_LOG = '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["task_failed"]\n'
CONSOLE = '[plugins.console.here]\nevents = ["task_failed"]\n'
NO_STATE = {"a state folder that is a file"}
"""Environments in which the store cannot be opened, so that the agent does not start."""
NO_STORE = {name for name, shell in LIMITS.items() if not shell.runs}
"""The same for limits and inherited process state."""


@pytest.mark.parametrize("name", ENVIRONMENTS)
async def test_whatever_its_variables_say(name: str, tmp_path: Path) -> None:
    await works_or_says_why(name, tmp_path, environ=ENVIRONMENTS[name])


@pytest.mark.parametrize("name", ODD_ZONES)
async def test_whatever_zone_it_is_in(name: str, tmp_path: Path) -> None:
    await works_or_says_why(name, tmp_path, environ={"TZ": ODD_ZONES[name]})


@pytest.mark.parametrize("name", [name for name in LIMITS if "descriptors" not in name])
async def test_whatever_limits_and_habits_it_inherits(name: str, tmp_path: Path) -> None:
    await works_or_says_why(name, tmp_path, shell=LIMITS[name].script)


async def test_a_limit_on_the_size_of_files_is_named(tmp_path: Path) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:9")
    async with open_agent("run", config, cwd=tmp_path, shell=LIMITS["files of 1 MB"].script) as agent:
        assert await agent.wait() == 1
    (sentence,) = agent.stderr
    assert "files of this process may have no more than 1,048,576 bytes" in sentence
    assert "ulimit -f" in sentence


async def works_or_says_why(
    name: str, folder: Path, *, environ: Mapping[str, str | None] | None = None, shell: str = 'exec "$@"'
) -> None:
    """An event is delivered and the agent ends with 0; or one sentence says why the agent cannot start."""
    async with open_raw_orchestrator() as raw:
        config = write_config(folder, raw.url, FILE_LOG, CONSOLE, projects=("project-123", "größe"))
        async with open_agent("run", config, cwd=folder, environ=environ, shell=shell) as agent:
            if name in NO_STATE | NO_STORE:
                assert await agent.wait() == 1
                assert len(agent.stderr) == 1
                assert agent.stderr[0].startswith("aintandem-notify: ")
                return
            await (await raw.connections.receive()).send_event(
                "task_failed", taskId="t1", task="Größe prüfen", error="zu groß: 5 µm – ✗ 失敗"
            )
            (line,) = await logged(folder, 1)
            await agent.wait_for_output("task_failed")
            await ended_well(agent)
            entries = [json.loads(entry) for entry in agent.stderr]
            assert any(entry.get("project") == "größe" for entry in entries)
    assert "zu groß: 5 µm – ✗ 失敗" in line["body"]
