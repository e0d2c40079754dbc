"""The agent as its own process with unusual files as its standard input, output and error."""

import signal
from pathlib import Path

import pytest
import trio

from support.agent_process import ended_well, logged, open_agent
from support.commands import run_command
from support.configs import write_config
from support.nasty.process import DESCRIPTORS
from support.pipes import full_pipe, paused_terminal, read_until
from support.raw_orchestrator import open_raw_orchestrator

FILE_LOG = '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["task_failed"]\n'
CONSOLE = '[plugins.console.here]\nevents = ["task_failed"]\n'


USABLE = [name for name, shell in DESCRIPTORS.items() if shell.runs]


@pytest.mark.parametrize("name", USABLE)
async def test_it_works_and_ends_well_whatever_stands_behind_its_descriptors(name: str, tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, FILE_LOG, CONSOLE)
        async with open_agent("run", config, cwd=tmp_path, shell=DESCRIPTORS[name].script) as agent:
            await (await raw.connections.receive()).send_event("task_failed", taskId="t1")
            await logged(tmp_path, 1)
            assert not standard_ones_in_use(agent.process.pid)
            await ended_well(agent)


def standard_ones_in_use(pid: int) -> list[str]:
    """Returns those of a process's descriptors 0 to 2 that are a socket or a file of the store."""
    behind = [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]
    return [path for path in behind if path.startswith(("socket:", "anon_inode:")) or ".sqlite3" in path]


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.parametrize(
    ("command", "code", "prints"), [("check", 0, True), ("status", 1, True), ("test", 2, False)]
)
async def test_commands_end_with_their_code_whatever_stands_behind_their_descriptors(
    command: str, code: int, prints: bool, name: str, tmp_path: Path
) -> None:
    write_config(tmp_path, "http://127.0.0.1:1", CONSOLE)
    arguments = [command, "no.such"] if command == "test" else [command]
    ended = await run_command(*arguments, cwd=tmp_path, shell=DESCRIPTORS[name].script)
    # A failed write to standard output is a failure; a failed write to standard error is not.
    is_lost = name in {"stdout full", "both full", "stdout read-only"} and prints
    assert ended.code == (1 if is_lost else code)


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
async def test_a_stderr_that_takes_nothing_holds_nothing_up(kind: str, tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, FILE_LOG)
        with paused_terminal() if kind == "terminal" else full_pipe() as ends:
            stderr = ends if isinstance(ends, int) else ends[1]
            async with open_agent("run", config, cwd=tmp_path, stderr=stderr) as agent:
                await (await raw.connections.receive()).send_event("task_failed", taskId="t1")
                await logged(tmp_path, 1)
                assert (await run_command("status", "--alive", cwd=tmp_path, environ=state(tmp_path))).code == 0
                agent.terminate()
                assert await agent.wait() == 0


def state(folder: Path) -> dict[str, str]:
    """Returns the agent's state folder."""
    return {"XDG_STATE_HOME": str(folder / "state")}


async def test_what_waited_for_a_reader_is_written_once_there_is_one(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, FILE_LOG)
        with full_pipe() as (reader, writer):
            async with open_agent("run", config, cwd=tmp_path, stderr=writer) as agent:
                await raw.connections.receive()
                output = await trio.to_thread.run_sync(read_until, reader, b'"connected"')
                agent.terminate()
                output += await trio.to_thread.run_sync(read_until, reader, b'"stopped"')
                assert await agent.wait() == 0
    assert [event in output for event in (b'"started"', b'"connected"', b'"stopping"', b'"stopped"')] == [True] * 4


async def test_the_journal_gets_priorities_and_the_reason_why_it_does_not_start(tmp_path: Path) -> None:
    journal = DESCRIPTORS["stderr the journal"].script
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, FILE_LOG)
        async with open_agent("run", config, cwd=tmp_path, shell=journal) as agent:
            assert (await agent.wait_for_log('"connected"')).startswith('<6>{"timestamp"')
            agent.terminate()
            assert await agent.wait() == 0
    # A shell that redirects standard error leaves the variable as it is.
    refused = await run_command("run", "no.toml", cwd=tmp_path, shell=journal)
    redirected = await run_command("run", "no.toml", cwd=tmp_path, shell=f"{journal} 2>err.txt")
    assert (refused.code, redirected.code, redirected.err) == (2, 2, "")
    assert refused.err == "".join(f"<3>{line}\n" for line in (tmp_path / "err.txt").read_text().splitlines())


async def test_the_exit_limit_holds_where_stderr_takes_nothing(tmp_path: Path) -> None:
    """A plugin blocks the event loop, and the log cannot be written."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "stuck.py").write_text(
        "import time\n"
        "from aintandem_notify.api import Notification, Plugin, hookimpl\n\n\n"
        "class Stuck(Plugin):\n"
        "    @hookimpl\n"
        "    async def deliver(self, notification: Notification) -> None:\n"
        "        print('stuck', flush=True)\n"
        "        time.sleep(3600)\n"
    )
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, "[plugins.stuck.x]\n", '[delivery]\ndrain_timeout = "0s"\n')
        with full_pipe() as (_, writer):
            async with open_agent("run", config, cwd=tmp_path, stderr=writer) as agent:
                await (await raw.connections.receive()).send_event("task_failed", taskId="t1")
                await agent.wait_for_output("stuck")
                agent.terminate()
                assert await agent.wait() == 1


async def test_a_ctrl_c_ends_a_command_that_cannot_say_so(tmp_path: Path) -> None:
    with full_pipe() as (_, writer):
        async with open_agent("simulate", "--port", "0", cwd=tmp_path, stderr=writer) as simulator:
            await simulator.wait_for_output("orchestrator at")
            simulator.process.send_signal(signal.SIGINT)
            assert await simulator.wait() == 0
        async with open_agent("check", "no.toml", cwd=tmp_path, stderr=writer) as check:
            assert await check.wait() == 2


async def test_output_that_a_plugin_left_in_a_pipe_that_nobody_reads_holds_no_exit_back(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "printer.py").write_text(
        "from contextlib import asynccontextmanager\n"
        "from aintandem_notify.api import Notification, Plugin, hookimpl\n\n\n"
        "class Printer(Plugin):\n"
        "    @hookimpl\n"
        "    @asynccontextmanager\n"
        "    async def lifespan(self):\n"
        "        print('left in the buffer')\n"
        "        yield\n\n"
        "    @hookimpl\n"
        "    def deliver(self, notification: Notification) -> None:\n"
        "        pass\n"
    )
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, FILE_LOG, "[plugins.printer.x]\n")
        with full_pipe() as (_, writer):
            async with open_agent("run", config, cwd=tmp_path, stdout=writer) as agent:
                await raw.connections.receive()
                await agent.wait_for_log("plugin loaded", times=2)
                await ended_well(agent)


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
async def test_a_stdout_that_takes_nothing_holds_up_the_console_alone(kind: str, tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, FILE_LOG, CONSOLE, '[delivery]\ndrain_timeout = "1s"\n')
        with paused_terminal() if kind == "terminal" else full_pipe() as ends:
            stdout = ends if isinstance(ends, int) else ends[1]
            async with open_agent("run", config, cwd=tmp_path, stdout=stdout) as agent:
                socket = await raw.connections.receive()
                for number in range(3):
                    await socket.send_event("task_failed", taskId=f"t{number}")
                await logged(tmp_path, 3)
                assert (await run_command("status", "--alive", cwd=tmp_path, environ=state(tmp_path))).code == 0
                await ended_well(agent)


async def test_a_full_disk_behind_the_output_of_a_simulator_is_a_sentence(tmp_path: Path) -> None:
    ended = await run_command("simulate", "--port", "0", cwd=tmp_path, shell=DESCRIPTORS["stdout full"].script)
    assert (ended.code, ended.err) == (1, "aintandem-notify: No space left on device\n")
