"""No command prints control sequences, even if an orchestrator, a plugin, a config or an argument has them.

Tests all commands of the group; a new command needs its arguments here.
"""

import json
import os
import signal
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import trio

from aintandem_notify.cli.main import commands
from support.agent_process import AgentProcess, ended_well, logged, open_agent
from support.commands import run_command
from support.configs import CANARY, write_config
from support.nasty import texts
from support.raw_http import RestAnswer
from support.raw_orchestrator import RawOrchestrator, Refuse, open_raw_orchestrator

EVIL = "\x1b[31mred\x1b]0;own\x07\x9b2J\x7f\u202egpj.exe\u2066\u200f\ufeff\u200b\u2028\r\nforged [b]x[/]\x00\ufffe"
CLOSES = "\x1b[2J\u202e\x9b\r\nforged"
"""The reason of a close frame; it may have 123 bytes."""

TABLES = (
    '[plugins.file_log.all]\npath = "notifications.jsonl"\n',
    "[plugins.evil.x]\n",
    "[plugins.console.out]\n",
    f'[[rules]]\nname = {json.dumps(EVIL)}\nevents = ["*", "connection/*"]\nwhen = "true and\\n true"\n',
    'notify = ["file_log.all", "console.out", "evil.x"]\n',
    f'[[projects]]\nid = "named"\nname = {json.dumps(EVIL)}\n',
)
PLUGIN = f"""
from aintandem_notify.api import Plugin, hookimpl, DestinationBroken
EVIL = {EVIL!r}
class Evil(Plugin):
    @hookimpl
    def deliver(self, notification):
        raise DestinationBroken(EVIL)
    @hookimpl
    def check(self):
        raise RuntimeError(EVIL)
    @hookimpl
    def diagnostics(self):
        return {{EVIL: EVIL, "other": [EVIL]}}
"""
BROKEN_PLUGIN = f"raise RuntimeError({EVIL!r})\n"

ARGUMENTS: dict[str, list[list[str]]] = {
    "check": [
        ["config.toml"],
        ["--connect", "config.toml"],
        [EVIL],
        ["wrong.toml"],
        ["syntax.toml"],
        ["--json", "wrong.toml"],
    ],
    "test": [["config.toml", "evil.x"], ["config.toml", "console.out"], ["config.toml", EVIL]],
    "rules test": [
        ["--show", "scenario.toml"],
        ["--json", "scenario.toml"],
        ["wrong.toml"],
        ["syntax.toml"],
        [EVIL],
    ],
    "status": [["config.toml"], ["--json", "config.toml"], ["--ready", "config.toml"], ["--alive", EVIL]],
    "deliveries list": [
        ["config.toml"],
        ["--json", "config.toml"],
        ["--destination", EVIL],
        ["--since", EVIL],
        ["--task", EVIL],
    ],
    "deliveries show": [["config.toml", "1"], ["--json", "config.toml", "1"], ["config.toml", EVIL]],
    "deliveries retry": [
        ["config.toml", "1", EVIL],
        ["config.toml", "1"],
        ["--yes", "--all", "--json", "config.toml"],
    ],
    "deliveries drop": [["config.toml", EVIL], ["config.toml", "1"], ["config.toml", "--all"]],
    "destinations list": [["config.toml"], ["--json", "config.toml"], [EVIL]],
    "destinations pause": [["config.toml", EVIL], ["config.toml", "evil.x"]],
    "destinations resume": [["config.toml", EVIL], ["--json", "config.toml", "evil.x"]],
    "plugins list": [[], ["config.toml"], ["--json", "config.toml"], ["--plugins-dir", EVIL]],
    "plugins show": [["config.toml", "evil.x"], ["--json", "config.toml", "evil.x"], ["config.toml", EVIL]],
    "silences add": [
        ["config.toml", "--task", EVIL, "--for", "1h", "--owner", EVIL, "--reason", EVIL],
        ["config.toml", "--task", "x", "--for", EVIL],
        [EVIL, "--task", "x", "--until", "2026-03-01"],
    ],
    "silences list": [["config.toml"], [EVIL]],
    "silences end": [["config.toml", EVIL], [EVIL]],
    "episodes list": [["config.toml", "--all"], ["--json", "config.toml"], [EVIL]],
    "episodes end": [["config.toml", EVIL], [EVIL]],
    "acknowledge": [["config.toml", EVIL, "--by", EVIL], [EVIL, "--by", "ana"]],
    "snooze": [
        ["config.toml", EVIL, "--for", "1h", "--by", EVIL, "--reason", EVIL],
        ["config.toml", "ep_123", "--for", EVIL],
        [EVIL, "ep_123", "--for", "1h"],
    ],
    "explain": [
        ["config.toml", EVIL],
        ["config.toml", "--event", "task_failed", "--project", EVIL, "--task", EVIL, "--field", f"error={EVIL}"],
        ["config.toml", "--event", EVIL],
        ["config.toml", "--event", "task_failed", "--at", EVIL],
        ["config.toml", "--event", "task_failed", "--json", "--field", f"{EVIL}={EVIL}"],
        ["config.toml", "1"],
        [EVIL, "--event", "task_failed", "--field", EVIL],
    ],
    "reload": [[EVIL]],
    "schema": [[], [EVIL]],
    "tail": [["config.toml", "--project", CLOSES.replace("[", "")], ["config.toml", "--task", "t-none"]],
    "init": [["new.toml", "--yes", "--url", EVIL]],
    "simulate": [["--port", EVIL]],
    "run": [[EVIL], ["wrong.toml"]],
}
"""The arguments of each command that ends by itself; ``run``, ``tail`` and ``simulate`` have tests below."""


class Ended(NamedTuple):
    """The result of a command; ``uncaught`` is an exception that would have been a traceback."""

    command: list[str]
    code: int
    output: str
    uncaught: str | None


def leaves(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def unsafe(text: str) -> set[str]:
    """Returns the parts that must not reach a terminal, and lines that begin with foreign text."""
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    bad = {item for item in text if unicodedata.category(item) in hidden and item not in "\n\t\u200c\u200d"}
    bad |= {item for item in text if ord(item) & 0xFFFE == 0xFFFE}
    return bad | {line for line in text.splitlines() if line.startswith("forged")}


def test_every_command_is_asked() -> None:
    assert ARGUMENTS.keys() == set(leaves(commands))


def misbehave(raw: RawOrchestrator) -> None:
    """Has the orchestrator answer with control sequences in names, ids, errors and reasons."""
    listed = [
        {"id": "project-123", "name": EVIL},
        {"id": "named"},
        {"id": EVIL, "name": "x"},
        {"id": "glob-\x9b\u202e"},
    ]
    raw.rest["GET /api/projects"] = listed
    raw.rest["GET /api/projects/project-123/tasks"] = RestAnswer({"error": EVIL, "code": EVIL}, 500)
    raw.rest["GET /api/flexy"] = RestAnswer({"error": {"message": EVIL}}, 403)


ASK = """
import json, sys, click.testing
from aintandem_notify.cli.main import commands
ended = []
for command in json.load(sys.stdin):
    result = click.testing.CliRunner().invoke(commands, command)
    left = None if result.exception is None or isinstance(result.exception, SystemExit) else repr(result.exception)
    ended.append([command, result.exit_code, result.output, left])
json.dump(ended, sys.stdout)
"""
"""Runs all in one process: each of some fifty processes would take a second to start."""


async def run_all(folder: Path, environ: dict[str, str], *only: str) -> list[Ended]:
    """Runs every command, or ``only`` these, with each of its arguments."""
    asks = [[*name.split(), *arguments] for name in only or ARGUMENTS for arguments in ARGUMENTS[name]]
    asks = [[word.replace("\x00", "") for word in ask] for ask in asks]  # no argument can have it
    done = await trio.run_process(
        [sys.executable, "-c", ASK],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environ},
        stdin=json.dumps(asks).encode(),
        capture_stdout=True,
        capture_stderr=True,
    )
    assert unsafe(done.stderr.decode()) == set()
    return [Ended(*item) for item in json.loads(done.stdout)]


def prepare(folder: Path, url: str) -> dict[str, str]:
    """Writes the config and its files; returns the environment in which commands find the agent."""
    (folder / "plugins").mkdir()
    (folder / "plugins" / "evil.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "plugins" / "broken.py").write_text(BROKEN_PLUGIN, encoding="utf-8")
    write_config(folder, url, *TABLES, projects=("project-123", "glob-*"))
    quoted = json.dumps(EVIL)
    wrong = f"{quoted} = 1\n[orchestrator]\nurl = {quoted}\n[plugins.broken.x]\n[log]\nlevel = {quoted}\n"
    (folder / "wrong.toml").write_text(wrong, encoding="utf-8")
    (folder / "syntax.toml").write_text("a = 1\n[\x9b\u202e]\n[\x9b\u202e]\n", encoding="utf-8")
    event = f'event = "task_failed"\ntask = {quoted}\nerror = {quoted}\nproject = "named"\n'
    scenario = f'name = {quoted}\nconfig = "config.toml"\n[[steps]]\n{event}[[expect]]\ntitle = {quoted}\n'
    (folder / "scenario.toml").write_text(scenario, encoding="utf-8")
    return {"XDG_STATE_HOME": str(folder / "state")}


async def fail_a_task(raw: RawOrchestrator) -> None:
    socket = await raw.connections.receive()
    run: dict[str, Any] = {"taskId": EVIL, "task": EVIL}
    await socket.send_event("task_started", **run)
    await socket.send_event("output", output=EVIL, **run)
    await socket.send_event("step_progress", step=EVIL, status="running", message=EVIL, progress=5, **run)
    await socket.send_event("task_failed", error=EVIL, unknown={EVIL: EVIL}, **run)
    await socket.send_event("invented\x9b\u202e", what=EVIL)
    await socket.send_event("task_failed", taskId="t-2", error="".join(texts.SMALL.values()))


async def test_no_command_prints_what_steers_a_terminal(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        misbehave(raw)
        environ = prepare(tmp_path, raw.url)
        async with open_agent("run", "config.toml", cwd=tmp_path) as agent:
            await fail_a_task(raw)
            await logged(tmp_path, 3)
            raw.default_upgrade = Refuse(503, {"X-Reason": "\x9b"}, EVIL.encode())
            for socket in raw.open_sockets:
                await socket.close(4000, CLOSES)
            ended = await run_all(tmp_path, environ)
            raw.rest["POST /api/auth/login"] = RestAnswer({"success": False, "error": EVIL}, 401)
            ended += await run_all(tmp_path, environ, "check", "tail", "status")
            await ended_well(agent)
        ended += await run_all(
            tmp_path, environ, "status", "deliveries list", "deliveries show", "destinations pause"
        )
    for item in ended:
        assert unsafe(item.output) == set(), item
        assert item.uncaught is None, item
        if "--json" in item.command and item.code == 0:
            json.loads(item.output)
    assert unsafe(agent.everything) == set()
    assert unsafe((tmp_path / "notifications.jsonl").read_text(encoding="utf-8")) == set()
    # The hostile text was in the data.
    for name in ("check", "status", "deliveries", "plugins", "episodes"):
        assert any("gpj.exe" in item.output for item in ended if item.command[0] == name and item.code != 2), name


async def test_logging_in_in_vain_says_why_and_nothing_else(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        raw.rest["POST /api/auth/login"] = RestAnswer({"success": False, "error": EVIL}, 401)
        (tmp_path / "password").write_text(CANARY)
        arguments = ["--yes", "--url", raw.url, "--username", "admin", "--password-file", "password"]
        refused = await run_command("init", "new.toml", *arguments, cwd=tmp_path)
        misbehave(raw)
        answers = "\n".join([raw.url, "admin", CANARY, "*", "1", "1", ""])
        del raw.rest["POST /api/auth/login"]
        listed = await run_command("init", "new.toml", cwd=tmp_path, answers=answers)
    for finished in (refused, listed):
        assert "gpj.exe" in finished.out + finished.err
        assert unsafe(finished.out + finished.err) == set()


@pytest.mark.parametrize("style", [["--json"], []])
async def test_tail_prints_nothing_else(tmp_path: Path, style: list[str]) -> None:
    async with open_raw_orchestrator() as raw:
        misbehave(raw)
        prepare(tmp_path, raw.url)
        async with open_agent("tail", "config.toml", *style, "--project", "project-123", cwd=tmp_path) as tail:
            await fail_a_task(raw)
            await tail.wait_for_output("t-2")
            await raw.sockets[0].close(4000, CLOSES)
            await wait_for_either(tail, style)
            tail.process.send_signal(signal.SIGINT)
            assert await tail.wait() == 0
    assert unsafe(tail.everything) == set()
    assert any("gpj.exe" in line for line in tail.stdout)
    if style:
        assert json.loads(tail.stdout[0])["taskId"] == EVIL


async def wait_for_either(tail: AgentProcess, style: list[str]) -> None:
    await (tail.wait_for_log("again") if style else tail.wait_for_output("Connected"))


async def test_simulate_prints_nothing_else(tmp_path: Path) -> None:
    evil = EVIL.replace("\x00", "")
    async with open_agent("simulate", "--port", "0", "--project", evil, cwd=tmp_path) as simulator:
        await simulator.wait_for_output("orchestrator at")
        simulator.process.send_signal(signal.SIGINT)
        assert await simulator.wait() == 0
    assert unsafe(simulator.everything) == set()
