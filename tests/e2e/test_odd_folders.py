"""A config, its store, logs and plugins in folders with odd names: all commands work, and say so safely."""

import json
import os
from pathlib import Path

import pytest

from support.agent_process import ended_well, logged, open_agent
from support.commands import Finished, run_command
from support.nasty import configs

CONFIG = """
[orchestrator]
url = "simulator"
[[projects]]
id = "project-123"
[store]
url = "sqlite:///state.db"
[plugins.file_log.all]
path = "notifications.jsonl"
[plugins.beep.x]
[[rules]]
name = "all"
events = ["*"]
notify = ["file_log.all", "beep.x"]
"""
BEEP = """
from aintandem_notify.api import Plugin, hookimpl
class Beep(Plugin):
    @hookimpl
    def deliver(self, notification):
        pass
    @hookimpl
    def diagnostics(self):
        return {"where": __file__}
"""
NO_UTF_8 = configs.FOLDERS["no utf-8"]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    made = tmp_path / os.fsdecode(request.param)
    (made / "plugins").mkdir(parents=True)
    (made / "plugins" / "beep.py").write_text(BEEP)
    (made / "config.toml").write_text(CONFIG)
    return made


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def is_safe(finished: Finished) -> bool:
    return (finished.out + finished.err).replace("\n", "").isprintable()


@pytest.mark.parametrize("folder", configs.FOLDERS.values(), ids=configs.FOLDERS, indirect=True)
async def test_an_agent_works_in_any_folder(folder: Path) -> None:
    config = folder / "config.toml"
    environ = {"XDG_STATE_HOME": str(folder / "state")}
    async with open_agent("run", config, cwd=folder) as agent:
        await logged(folder, 1)
        status = await run_command("status", "--json", config, cwd=folder, environ=environ)
        await ended_well(agent)

    assert status.code == 0
    assert is_safe(status)
    assert json.loads(status.out)["config"] == str(config)
    assert json.loads(status.out)["store"]["name"] == str(folder / "state.db")
    assert names_in(folder) >= {"state.db", "notifications.jsonl"}
    assert names_in(folder.parent) == {folder.name}


@pytest.mark.parametrize("folder", [NO_UTF_8], ids=["no utf-8"], indirect=True)
async def test_every_command_works_in_a_folder_of_other_bytes(folder: Path) -> None:
    odd = folder / os.fsdecode(b"c\xe9.toml")
    (folder / "config.toml").rename(odd)
    environ = {"XDG_STATE_HOME": str(folder / "state")}
    right = [["check", "--connect"], ["test"], ["plugins", "list"], ["status"], ["deliveries", "list"]]
    right += [["plugins", "show"], ["destinations", "pause"], ["destinations", "resume"]]
    names = {"test": "file_log.all", "show": "beep.x", "pause": "beep.x", "resume": "beep.x"}

    async with open_agent("run", odd, cwd=folder) as agent:
        await logged(folder, 1)
        for command in right:
            named = [names[command[-1]]] if command[-1] in names else []
            ended = await run_command(*command, odd, *named, cwd=folder, environ=environ)
            assert ended.code == 0, ended
            assert is_safe(ended), ended
        await ended_well(agent)
    for command in (["status"], ["status", "--json"], ["plugins", "show", "beep.x"]):
        ended = await run_command(*command, odd, cwd=folder, environ=environ)
        assert ended.code == 1
        assert is_safe(ended), ended
    listed = await run_command("deliveries", "list", "--json", odd, cwd=folder, environ=environ)
    assert listed.code == 0
    assert json.loads(listed.out)["deliveries"]
    assert is_safe(await run_command("check", folder / "none.toml", cwd=folder))
