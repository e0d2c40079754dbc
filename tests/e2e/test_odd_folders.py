"""A config, its store, logs and plugins in folders with odd names: all commands work and print them safely."""

import json
import os
import sys
from pathlib import Path

import pytest
import trio

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
    odd_folder = tmp_path / os.fsdecode(request.param)
    (odd_folder / "plugins").mkdir(parents=True)
    (odd_folder / "plugins" / "beep.py").write_text(BEEP)
    (odd_folder / "config.toml").write_text(CONFIG)
    return odd_folder


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
    right += [["check", "--json"], ["plugins", "list", "--json"], ["destinations", "list"]]
    right += [["destinations", "list", "--json"], ["deliveries", "list", "--task", "*"]]
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


GONE = "import os, tempfile; os.chdir(tempfile.mkdtemp()); os.rmdir(os.getcwd()); "
RUN = "import sys; sys.argv = ['x', *{arguments!r}]; from aintandem_notify.__main__ import main; main()"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["check", "{}"], 0, "is right"),
        (["test", "{}", "file_log.all"], 0, "delivered"),
        (["status", "{}"], 1, "no agent runs"),
        (["status"], 1, "the working directory was removed; go to another one"),
        (["check"], 2, "config.toml: cannot be read: No such file or directory"),
        (["plugins", "list"], 0, "file_log"),
    ],
)
async def test_a_working_directory_that_was_removed(
    tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.replace("[plugins.beep.x]", "").replace(', "beep.x"', ""))
    named = [argument.format(config) for argument in arguments]
    done = await trio.run_process(
        [sys.executable, "-c", GONE + RUN.format(arguments=named)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr
    assert says in (done.stdout + done.stderr).decode()


async def test_a_config_behind_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write_simulated(tmp_path / "real" / "c.toml")
    (tmp_path / "link.toml").symlink_to("real/c.toml")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert (await run_command("check", "link.toml", cwd=tmp_path)).code == 0
    for wrong in ("loop", "dangling", "real", "real/c.toml/x", "x" * 5000, "/dev/zero"):
        for command in ("check", "status"):
            ended = await run_command(command, wrong, cwd=tmp_path)
            assert ended.code == 2
            assert ended.err.startswith(f"{wrong}: ")
            assert ended.err.count("\n") == 1


def write_simulated(path: Path) -> None:
    path.write_text('[orchestrator]\nurl = "simulator"\n[[projects]]\nid = "p"\n')


async def test_a_moved_config_is_told_of_its_old_store(tmp_path: Path) -> None:
    old, new = tmp_path / "config.toml", tmp_path / "renamed.toml"
    old.write_text('[orchestrator]\nurl = "http://127.0.0.1:9"\ntoken = "t"\n[[projects]]\nid = "p"\n')
    async with open_agent("run", old, cwd=tmp_path) as agent:
        await agent.wait_for_log("a new store is created")
        await ended_well(agent)
    old.rename(new)
    async with open_agent("run", new, cwd=tmp_path) as agent:
        line = json.loads(await agent.wait_for_log("an older store is left behind"))
        await ended_well(agent)
    assert line["level"] == "warning"
    assert f"the config was at {old}" in line["so"]
    async with open_agent("run", new, cwd=tmp_path) as agent:
        await agent.wait_for_log('"started"')
        await ended_well(agent)
    assert not any("store is" in line for line in agent.stderr)
