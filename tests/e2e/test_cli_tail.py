"""``tail`` as users run it: in a terminal, into a pipe, for one task, and during faults."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from codecs import getincrementaldecoder
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from aintandem_notify.simulator import open_simulator
from support.agent_process import open_agent
from support.commands import run_command
from support.configs import CANARY, write_config
from support.nasty.process import DESCRIPTORS
from support.raw_http import RestAnswer
from support.raw_orchestrator import RawOrchestrator, RawSocket, Refuse, open_raw_orchestrator

TASKS = "GET /api/projects/project-123/tasks"
TASK_1 = "GET /api/projects/project-123/tasks/task-1"
TASK: dict[str, Any] = {"taskId": "task-1"}


def folder_of(path: Path) -> list[Path]:
    return list(path.parent.iterdir())


async def run_a_task(socket: RawSocket, *, end: str = "task_completed") -> None:
    await socket.send_event("task_started", task="Analyse", **TASK)
    await socket.send_event("step_progress", step="Load", status="running", progress=40, message="3 of 8", **TASK)
    await socket.send_event("output", output="\x1b[31mone\x1b[0m\ntwo\n", **TASK)
    await socket.send_event(end, task="Analyse", **TASK)


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url)
        async with open_agent("tail", config, cwd=tmp_path) as process:
            await run_a_task(await raw.connections.receive())
            await process.wait_for_output("completed")
            process.process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    assert process.stderr == []
    assert files(tmp_path) == ["config.toml"], "it stores nothing"
    assert [line.partition("Z project-123 ")[2] for line in process.stdout] == [
        "Watching project-123: connected, no active runs, no event yet",
        'Task "Analyse" started (task-1)',
        'Task "Analyse": Load is running, 40%: 3 of 8',
        "Analyse | one",
        "Analyse | two",
        process.stdout[-1].partition("Z project-123 ")[2],
    ]
    assert [path.name for path in folder_of(config)] == ["config.toml"]  # no store


async def test_json_is_the_events_as_they_came(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url)
        async with open_agent("tail", config, "--json", cwd=tmp_path) as process:
            socket = await raw.connections.receive()
            await socket.send_event("invented", colour="blue\x9b")
            await run_a_task(socket)
            await process.wait_for_output("task_completed")
            await socket.drop()
            await process.wait_for_log("Connected to project-123 again")
            process.terminate()
            assert await process.wait() == 0
    events = [json.loads(line) for line in process.stdout]
    kinds = ["invented", "task_started", "step_progress", "output", "task_completed"]
    assert [event["type"] for event in events] == kinds
    assert events[0]["colour"] == "blue\x9b"
    assert "\x9b" not in process.everything
    watching, *connection = process.stderr
    assert watching.startswith("Watching project-123: connected")
    assert len(connection) == 2


@pytest.mark.parametrize(("end", "code"), [("task_completed", 0), ("task_failed", 1), ("task_cancelled", 1)])
async def test_one_task_ends_it_with_its_own_end(end: str, code: int, tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        raw.rest[TASK_1] = {"id": "task-1", "status": "running"}
        config = write_config(tmp_path, raw.url, projects=("project-456", "project-123"))
        async with open_agent("tail", config, "--task", "task-1", cwd=tmp_path) as process:
            socket = await raw.connections.receive()
            await socket.send_event("task_failed", taskId="task-2")
            await run_a_task(socket, end=end)
            assert await process.wait() == code
    assert "task-2" not in process.everything
    assert process.stderr == []


async def test_a_task_that_is_over_already(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        raw.rest[TASK_1] = {"id": "task-1", "status": "failed", "error": "no such file"}
        config = write_config(tmp_path, raw.url)
        done = await run_command("tail", config, "--task", "task-1", cwd=tmp_path)
    assert (done.code, done.err) == (1, "")
    assert "failed (caught up)" in done.out
    assert "no such file" in done.out


@pytest.mark.parametrize("name", ["stderr closed", "stderr full"])
async def test_its_own_messages_may_have_nowhere_to_go(name: str, tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        raw.rest[TASK_1] = {"id": "task-1", "status": "failed"}
        config = write_config(tmp_path, raw.url)
        shell = DESCRIPTORS[name].script
        done = await run_command("tail", config, "--task", "task-1", "--json", cwd=tmp_path, shell=shell)
    assert (done.code, json.loads(done.out)["type"]) == (1, "task_failed")


async def test_without_standard_output_there_is_nothing_to_do(tmp_path: Path) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:1")
    done = await run_command("tail", config, cwd=tmp_path, shell=DESCRIPTORS["stdout closed"].script)
    assert (done.code, done.err) == (1, "Error: standard output is closed, so nothing can be shown\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["plain", "json"])
async def test_a_full_disk_behind_stdout_is_a_sentence(options: tuple[str, ...], tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        raw.rest[TASK_1] = {"id": "task-1", "status": "completed"}
        config = write_config(tmp_path, raw.url)
        full = os.open("/dev/full", os.O_WRONLY)
        done = await run_command("tail", config, "--task", "task-1", *options, cwd=tmp_path, stdout=full)
        os.close(full)
    assert (done.code, done.err.splitlines()[-1]) == (1, "aintandem-notify: No space left on device")


async def test_a_lost_connection_is_shown_once_and_missed_ends_are_shown(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        task = {"id": "task-1", "task": "Analyse"}
        raw.rest[TASKS] = [{**task, "status": "running"}]
        config = write_config(tmp_path, raw.url)
        async with open_agent("tail", config, cwd=tmp_path) as process:
            socket = await raw.connections.receive()
            await socket.send_event("output", output="hello", **TASK)
            await process.wait_for_output("Analyse | hello")
            raw.rest[TASKS] = []
            raw.rest[TASK_1] = {**task, "status": "completed", "output": "all is well"}
            raw.upgrade_answers.extend([Refuse(503), Refuse(503)])
            await socket.drop()
            await process.wait_for_output("all is well")
            process.terminate()
            assert await process.wait() == 0
    texts = "\n".join(line.partition("Z project-123 ")[2] for line in process.stdout)
    assert re.sub(r" \(.*?\);", " ();", texts).splitlines() == [
        "Watching project-123: connected, 1 active run, no event yet",
        "Analyse | hello",
        "Connection to project-123 lost (); trying again by itself",
        "Connected to project-123 again",
        'Task "Analyse" completed (caught up)',
        "Analyse | all is well",
    ]


async def test_missed_ends_of_workflows_and_sandboxes_are_shown(tmp_path: Path) -> None:
    execution = "GET /api/workflows/executions/"
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url)
        async with open_agent("tail", config, cwd=tmp_path) as process:
            socket = await raw.connections.receive()
            for name in ("done", "cancelled", "goes-on", "forgotten", ".."):
                await socket.send_event("workflow_execution_started", executionId=name, workflowId=f"w-{name}")
            for name in ("stopped", "up", "broken"):
                await socket.send_event("sandbox_started", sandboxId=f"box-{name}")
            await process.wait_for_output("box-broken")
            raw.rest[f"{execution}done"] = {"id": "done", "workflowId": "w-done", "status": "completed"}
            raw.rest[f"{execution}cancelled"] = {"id": "cancelled", "workflowId": "w", "status": "cancelled"}
            raw.rest[f"{execution}goes-on"] = {"id": "goes-on", "workflowId": "w", "status": "running"}
            raw.rest["GET /api/flexy"] = [
                {"sandboxId": "box-stopped", "status": "exited"},
                {"sandboxId": "box-up", "status": "running"},
                {"sandboxId": "box-broken", "status": "dead", "error": "no disk left"},
                {"sandboxId": "box-of-others", "status": "exited"},
            ]
            await socket.drop()
            await process.wait_for_output("no disk left")
            socket = await raw.connections.receive()
            await socket.send_event("sandbox_stopped", sandboxId="box-up")
            await process.wait_for_output('"box-up" stopped')
            process.terminate()
            assert await process.wait() == 0
    caught_up = [line for line in process.stdout if "(caught up)" in line]
    assert [line.partition("Z project-123 ")[2].partition(" after ")[0] for line in caught_up] == [
        'Workflow "w-done" completed (caught up)',
        'Sandbox "box-stopped" stopped (caught up)',
        'Sandbox "box-broken" has an error (caught up)',
    ]


def refuses_login(raw: RawOrchestrator) -> None:
    raw.rest["POST /api/auth/login"] = RestAnswer({"error": {"message": "wrong password"}}, 401)


def refuses_sockets(raw: RawOrchestrator) -> None:
    raw.default_upgrade = Refuse(401)


@pytest.mark.parametrize(
    ("arguments", "arrange", "sentence"),
    [
        ("--project nope", None, "aintandem-notify: the orchestrator knows no project nope; it has project-123,"),
        ("--task nope", None, "aintandem-notify: there is no task nope in project-123; name its project with"),
        ("", refuses_login, "see the login in [orchestrator]"),
        ("", refuses_sockets, "401"),
        ("", RawOrchestrator.come_back, None),
    ],
    ids=["project", "task", "login", "socket", "nobody there"],
)
async def test_an_error_is_one_sentence(
    arguments: str, arrange: Any, sentence: str | None, tmp_path: Path
) -> None:
    async with open_raw_orchestrator() as raw:
        url = raw.url
        if sentence is None:
            url, sentence = "http://127.0.0.1:1", "is url in [orchestrator] right, and is it running?"
        elif arrange is not None:
            arrange(raw)
        config = write_config(tmp_path, url)
        done = await run_command("tail", config, *arguments.split(), cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1


async def test_a_project_of_the_config_that_can_be_nowhere(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, projects=("..",))
        done = await run_command("tail", config, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "projects[0].id: cannot be '..'" in done.err
    assert len(done.err.splitlines()) == 1


async def test_a_project_by_its_name_in_the_config_and_one_that_the_config_has_not(tmp_path: Path) -> None:
    async with open_raw_orchestrator(projects=["project-123", "sales-1", "sales-2"]) as raw:
        config = write_config(tmp_path, raw.url, '[[projects]]\nid = "sales-1"\nname = "Sales"\n')
        async with open_agent("tail", config, "--project", "Sales", "--project", "*-2", cwd=tmp_path) as process:
            paths = {(await raw.connections.receive()).request.path.rsplit("/", 1)[1] for _ in range(2)}
            process.terminate()
            assert await process.wait() == 0
    assert paths == {"sales-1", "sales-2"}


async def test_a_reader_that_has_seen_enough_ends_it(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[orchestrator]\nurl = "simulator"\n[[projects]]\nid = "project-123"\n', encoding="utf-8")
    reader, writer = os.pipe()
    os.close(reader)
    done = await run_command("tail", config, cwd=tmp_path, stdout=writer)
    os.close(writer)
    assert (done.code, done.err) == (0, "")


class Screen:
    """A terminal of 80 columns that a command writes to. ``visible_text`` removes colours and cursor movements."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # A character may be split between two reads.
        self._decoder = getincrementaldecoder("utf-8")()
        self.raw = ""

    @property
    def visible_text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw)

    async def wait_for(self, pattern: str) -> None:
        await self.wait_until(lambda _: re.search(pattern, self.visible_text) is not None)

    async def wait_until(self, is_there: Callable[[str], bool]) -> None:
        while not is_there(self.raw):
            await trio.lowlevel.wait_readable(self._descriptor)
            self.raw += self._decoder.decode(os.read(self._descriptor, 65536))


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are made otherwise there")
async def test_a_terminal_shows_a_bar_for_each_running_task(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    async with open_simulator(seed=1) as simulator:
        config = write_config(tmp_path, simulator.url)
        config.write_text(config.read_text(encoding="utf-8").replace(CANARY, "admin123"), encoding="utf-8")
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm-256color"}
        command = [sys.executable, "-m", "aintandem_notify", "tail", str(config)]
        screen = Screen(ours)
        with trio.fail_after(180):
            process = await trio.lowlevel.open_process(
                command, cwd=tmp_path, env=environ, stdout=theirs, stderr=subprocess.PIPE, start_new_session=True
            )
            await simulator.wait_subscribed("project-123")
            await screen.wait_for("Watching Project 123: connected, no active runs, (no event yet|quiet since)")
            for frame in (
                '{"type":"task_started","taskId":"task-1","task":"Analyse"}',
                '{"type":"step_progress","taskId":"task-1","step":"Load","progress":40,"message":"3 of 8"}',
                '{"type":"output","taskId":"task-1","output":"\\u001b[2Jreading"}',
            ):
                simulator.send("project-123", frame)
            await screen.wait_for(r"Analyse │ reading")
            await screen.wait_for(r"Analyse ━+[╸╺]?━* +40% +(\d+ s )?Load · 3 of 8")
            await screen.wait_for("Watching Project 123: connected, 1 active run, last event")
            simulator.send("project-123", '{"type":"task_completed","taskId":"task-1"}')
            await screen.wait_for(r'✔ Task "Analyse" completed')
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            await screen.wait_until(lambda raw: "\x1b[?25h" in raw)  # the cursor is visible again
        assert process.stderr is not None
        assert await process.stderr.receive_some() == b""
        await process.stderr.aclose()
    os.close(theirs)
    os.close(ours)
    assert "\x1b[2J" not in screen.raw
