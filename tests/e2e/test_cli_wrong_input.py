"""For every mistake of a user the command prints a sentence with its place and repair, and sets an exit code."""

import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.agent_process import open_agent
from support.commands import run_command
from support.configs import CANARY

HEAD = f'[orchestrator]\nurl = "http://127.0.0.1:1"\nusername = "admin"\npassword = "{CANARY}"\n'
PROJECT = '[[projects]]\nid = "project-123"\n'
CONSOLE = "[plugins.console.here]\n"
RIGHT = HEAD + PROJECT + CONSOLE

HANGS = """
from contextlib import asynccontextmanager
import trio
from aintandem_notify.api import Notification, Plugin, hookimpl

class Hangs(Plugin):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        print("hanging", flush=True)
        await trio.sleep_forever()
        yield

    @hookimpl
    def deliver(self, notification: Notification) -> None:
        pass
"""


@dataclass(frozen=True)
class Case:
    """A typed command in a folder with these files, and its expected result."""

    name: str
    arguments: str
    sentence: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    code: int = 2


def wrong(name: str, text: str | bytes, sentence: str) -> Case:
    """A wrong config for ``check``."""
    return Case(name, "check c.toml", sentence, {"c.toml": text})


def plugin(name: str, text: str, sentence: str) -> Case:
    """A one-file plugin that cannot be used."""
    config = RIGHT + "[plugins.mine.x]\n"
    return Case(
        name, "check c.toml", f"c.toml:8: plugins.mine.x: {sentence}", {"c.toml": config, "plugins/mine.py": text}
    )


CASES = [
    Case("no command", "", "Usage: aintandem-notify"),
    Case("unknown command", "chek", "No such command 'chek'"),
    Case("unknown option", "check --conect", "No such option '--conect'"),
    Case("no destination", "test", "Missing argument 'DESTINATION'"),
    Case("port out of range", "simulate --port 70000", "70000 is not in the range"),
    Case("speed of nothing", "simulate --speed 0", "0.0 is not in the range"),
    Case("simulated project of no name", "simulate --project=", "Invalid value for '--project': the id is empty"),
    Case("project of no name", "tail --project=", "Invalid value for '--project': the id is empty"),
    Case("task of no name", "tail --task=", "Invalid value for '--task': the id is empty"),
    Case("task of another address", "tail --task ..", "'--task': the id cannot be '..': in a URL that"),
    Case("config left out and not there", "run", "config.toml: cannot be read: No such file or directory"),
    Case("config not there", "run other.toml", "other.toml: cannot be read: No such file or directory"),
    Case("no config for run", "run", "to write a config:  aintandem-notify init config.toml"),
    Case("no config of this name", "run a$b.toml", "aintandem-notify init 'a$b.toml'"),
    *(
        Case(f"no config for {command}", command, "to write a config:  aintandem-notify init config.toml")
        for command in ("check", "test console.me", "tail", "status", "deliveries list", "destinations list")
    ),
    Case("config is a folder", "check .", ".: cannot be read: Is a directory"),
    Case("list of a config that is not there", "plugins list other.toml", "other.toml: cannot be read"),
    wrong("not TOML", "[orchestrator\n", "c.toml:1: not TOML: "),
    wrong("not text", b"\x00\xff\xfe", "c.toml:1: is not UTF-8 text"),
    wrong("empty", "", "c.toml: the table [orchestrator] is missing"),
    wrong("no project", HEAD, "c.toml: no project to watch; add [[projects]]"),
    wrong(
        "unknown key",
        RIGHT + "colr = 1\n",
        "c.toml:8: plugins.console.here.colr: unknown key; did you mean colour?",
    ),
    wrong(
        "misspelt secret",
        HEAD.replace("password", "pasword") + PROJECT,
        "orchestrator.pasword: unknown key; did you",
    ),
    wrong(
        "secret of a wrong type",
        HEAD.replace(f'"{CANARY}"', f'["{CANARY}"]') + PROJECT,
        "c.toml:4: orchestrator.password: ",
    ),
    wrong("variable not set", HEAD.replace(f'"{CANARY}"', '{ env = "NOT_SET" }') + PROJECT, "NOT_SET"),
    wrong(
        "unknown plugin",
        HEAD + PROJECT + "[plugins.slak.x]\n",
        "c.toml:7: plugins.slak.x: no plugin called slak; did you mean slack?",
    ),
    wrong("no instance name", HEAD + PROJECT + "[plugins.console]\n", "plugins.console"),
    wrong("unknown event", RIGHT + 'events = ["task_faild"]\n', "did you mean task_failed?"),
    plugin(
        "plugin that cannot be imported", "import nowhere_to_be_found\n", "plugins/mine.py:1: ModuleNotFoundError"
    ),
    plugin("plugin with a wrong syntax", "x = 1\ndef f(:\n", "plugins/mine.py:2: SyntaxError"),
    plugin("plugin that exits", "import sys\nsys.exit(3)\n", "plugins/mine.py:2: SystemExit: 3"),
    plugin("file without a plugin", "x = 1\n", "plugins/mine.py: the module defines no public subclass of Plugin"),
    Case(
        "unknown destination",
        "test console.her c.toml",
        "no destination is called console.her; did you mean console.here?",
        {"c.toml": RIGHT},
    ),
    Case(
        "destination of no destinations",
        "test x c.toml",
        "no destination is called x; there is none",
        {"c.toml": HEAD + PROJECT},
    ),
    Case(
        "unknown destination behind its config",
        "test c.toml console.her",
        "no destination is called console.her; did you mean console.here?",
        {"c.toml": RIGHT},
    ),
    Case("several destinations", "test c.toml console.a console.b", "One DESTINATION at a time"),
    Case(
        "unknown event type",
        "test console.here c.toml --event task_faild",
        "did you mean task_failed?",
        {"c.toml": RIGHT},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_wrong_input_gets_a_sentence_and_exit_code_2(case: Case, tmp_path: Path) -> None:
    for name, content in case.files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = await run_command(*case.arguments.split(), cwd=tmp_path)
    assert done.code == case.code
    assert done.out == ""
    assert case.sentence in done.err


async def test_all_mistakes_of_a_file_are_told_at_once_in_its_order(tmp_path: Path) -> None:
    text = RIGHT + 'colr = 1\n[[rules]]\nname = "r"\nevents = ["nope"]\nnotify = ["slack.team"]\n'
    (tmp_path / "c.toml").write_text(text, encoding="utf-8")
    done = await run_command("run", "c.toml", cwd=tmp_path)
    assert done.code == 2
    assert [int(found) for found in re.findall(r"^c\.toml:(\d+): ", done.err, re.MULTILINE)] == [8, 11, 12]


@pytest.mark.parametrize("command", ["check --connect c.toml", "test mine.x c.toml", "plugins list c.toml"])
async def test_ctrl_c_ends_a_command_that_waits(command: str, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(HANGS, encoding="utf-8")
    config = '[orchestrator]\nurl = "simulator"\n' + PROJECT + "[plugins.mine.x]\n"
    (tmp_path / "c.toml").write_text(config, encoding="utf-8")
    async with open_agent(*command.split(), cwd=tmp_path) as process:
        await process.wait_for_output("hanging")
        process.process.send_signal(signal.SIGINT)
        await process.wait_for_log("Aborted!")
        assert await process.wait() == 1
    assert [line for line in process.stderr if line] == ["Aborted!"]


async def test_ctrl_c_ends_the_simulator_in_good_order(tmp_path: Path) -> None:
    async with open_agent("simulate", "--port", "0", cwd=tmp_path) as process:
        await process.wait_for_output("orchestrator at")
        process.process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    assert process.stderr == []


@pytest.mark.parametrize("command", ["check c.toml", "plugins list", "schema", "--help"])
async def test_a_reader_that_has_seen_enough_is_no_news(command: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(RIGHT, encoding="utf-8")
    reader, writer = os.pipe()
    os.close(reader)
    done = await run_command(*command.split(), cwd=tmp_path, stdout=writer)
    os.close(writer)
    assert (done.code, done.err) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["check c.toml", "schema", "--version"])
async def test_a_full_disk_behind_stdout_is_a_sentence(command: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(RIGHT, encoding="utf-8")
    full = os.open("/dev/full", os.O_WRONLY)
    done = await run_command(*command.split(), cwd=tmp_path, stdout=full)
    os.close(full)
    assert (done.code, done.err) == (1, "aintandem-notify: No space left on device\n")


async def test_names_that_the_terminal_has_no_letters_for(tmp_path: Path) -> None:
    config = HEAD + '[[projects]]\nid = "zoë"\n' + CONSOLE
    (tmp_path / "café.toml").write_text(config, encoding="utf-8")
    environ = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = await run_command("check", "café.toml", cwd=tmp_path, environ=environ)
    assert (done.code, done.err) == (0, "")
    assert "\nprojects      zo\\u00eb\n" in done.out
    report = await run_command("check", "--json", "café.toml", cwd=tmp_path, environ=environ)
    assert json.loads(report.out)["projects"] == ["zoë"]


@pytest.mark.skipif(sys.platform == "win32", reason="state is elsewhere")
@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("c.toml", "c.toml/aintandem-notify/c-[0-9a-f]+.sqlite3: Not a directory"),
        ("/proc/self", r"/proc/self/aintandem-notify/c-[0-9a-f]+.sqlite3: No such file or directory"),
    ],
)
async def test_a_state_folder_that_cannot_be_made(state: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(RIGHT, encoding="utf-8")
    done = await run_command("run", "c.toml", cwd=tmp_path, environ={"XDG_STATE_HOME": str(tmp_path / state)})
    assert done.code == 1
    assert re.search(f"^aintandem-notify: store .*{sentence}", done.err)


async def test_a_second_agent_on_the_same_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(RIGHT, encoding="utf-8")
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    async with open_agent("run", "c.toml", cwd=tmp_path) as first:
        await first.wait_for_log('"started"')
        second = await run_command("run", "c.toml", cwd=tmp_path, environ=environ)
        first.terminate()
        assert await first.wait() == 0
    assert second.code == 1
    assert re.search(
        "^aintandem-notify: store .*: it is in use by another agent; stop that one, or set", second.err
    )
