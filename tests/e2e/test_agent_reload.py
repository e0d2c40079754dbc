"""``reload`` as a process of its own: its exit codes, and the result that it shows."""

import json
from pathlib import Path

from support.agent_process import ended_well, open_agent
from support.commands import Finished, run_command
from support.configs import write_config
from support.raw_orchestrator import open_raw_orchestrator

CONSOLE = "[plugins.console.here]\n"
AUDIT = '[plugins.file_log.audit]\npath = "audit.jsonl"\n'
RULE = '[[rules]]\nname = "all"\nevents = ["task_failed"]\nnotify = ["console.here"]\n'
SAD = """
from contextlib import asynccontextmanager

from aintandem_notify.api import DestinationBroken, Notification, Plugin, hookimpl


class Sad(Plugin):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        raise DestinationBroken("the key is revoked")
        yield

    @hookimpl
    async def deliver(self, notification: Notification) -> None: ...
"""


async def reload(folder: Path, *options: str) -> Finished:
    return await run_command(
        "reload", "config.toml", *options, cwd=folder, environ={"XDG_STATE_HOME": str(folder / "state")}
    )


async def test_the_result_of_each_reload_is_shown(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        write_config(tmp_path, raw.url, CONSOLE)
        none = await reload(tmp_path)
        assert none.code == 1
        assert "no agent runs with this config" in none.err
        async with open_agent("run", "config.toml", cwd=tmp_path) as agent:
            await raw.connections.receive()
            await agent.wait_for_log('"started"')

            same = await reload(tmp_path)
            assert (same.code, same.out) == (0, "config.toml is in use; nothing has changed.\n"), same.err

            write_config(tmp_path, raw.url, CONSOLE, AUDIT, '[log]\nlevle = "debug"\n')
            wrong = await reload(tmp_path)
            assert wrong.code == 2
            assert wrong.out == ""
            lines = wrong.err.splitlines()
            assert lines[0].startswith(f"{tmp_path / 'config.toml'}:")
            assert "log.levle: unknown key; did you mean level?" in lines[0]
            assert lines[-1] == "refused: the agent goes on with the config that it has"
            checked = await run_command("check", str(tmp_path / "config.toml"), cwd=tmp_path)
            assert (checked.code, checked.err.splitlines()) == (2, lines[:-1])

            write_config(tmp_path, raw.url, CONSOLE, '[store]\nkeep = "90d"\n[agent]\nname = "other"\n')
            restart = await reload(tmp_path, "--json")
            answer = json.loads(restart.out)
            assert restart.code == 2
            assert (answer["taken"], answer["restart_needed"]) == (False, ["[store]", "[agent] name"])

            write_config(tmp_path, raw.url, CONSOLE, AUDIT, RULE, projects=("project-456",))
            taken = await reload(tmp_path)
            assert (taken.code, taken.err) == (0, "")
            assert taken.out.splitlines() == [
                "config.toml is in use:",
                "  started           file_log.audit",
                "  projects added    project-456",
                "  projects removed  project-123",
                "  changed           [[projects]], [[rules]]",
            ]
            assert (await raw.connections.receive()).project_id == "project-456"
            await ended_well(agent)


async def test_an_instance_that_does_not_start_is_named(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "sad.py").write_text(SAD)
    async with open_raw_orchestrator() as raw:
        write_config(tmp_path, raw.url, CONSOLE)
        async with open_agent("run", "config.toml", cwd=tmp_path) as agent:
            await agent.wait_for_log('"started"')
            write_config(tmp_path, raw.url, CONSOLE, "[plugins.sad.one]\n")
            result = await reload(tmp_path)
            assert result.code == 0, result.err
            assert "warning: sad.one does not run: " in result.out
            assert "the key is revoked" in result.out
            await ended_well(agent)
