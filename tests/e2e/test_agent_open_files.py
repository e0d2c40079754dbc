"""A limit of open files that is too low for all projects, or too low for anything."""

import json
from pathlib import Path

import pytest

from aintandem_notify.foundation.open_files import file_budget, files_needed
from support.agent_process import ended_well, logged, open_agent
from support.commands import run_command
from support.configs import write_config
from support.nasty.process import LIMITS
from support.raw_orchestrator import open_raw_orchestrator
from support.receivers import open_webhook_receiver

PROJECTS = tuple(f"project-{number}" for number in range(80))
FILE_LOG = '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["task_failed"]\n'
RAISE_IT = "raise it with `ulimit -n`, or with LimitNOFILE= in a systemd unit"
FEW = f"80 projects need about {files_needed(80)} open files, the limit is 64: {RAISE_IT}"


async def test_links_leave_room_for_deliveries_control_and_the_store(tmp_path: Path) -> None:
    links = int(file_budget(64).links)
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    async with open_raw_orchestrator() as raw, open_webhook_receiver(secret=None) as webhook:
        hook = f'[plugins.webhook.ops]\nurl = "{webhook.url}"\nevents = ["task_failed"]\n'
        config = write_config(tmp_path, raw.url, FILE_LOG, hook, projects=PROJECTS)
        async with open_agent("run", config, cwd=tmp_path, shell=LIMITS["64 descriptors"].script) as agent:
            assert FEW in await agent.wait_for_log("too few open files")
            sockets = [await raw.connections.receive() for _ in range(links)]
            for socket in sockets:
                await socket.send_event("task_failed", taskId=f"{socket.project_id}-t1")
            await webhook.wait_for(links)
            status = await run_command("status", "--json", cwd=tmp_path, environ=environ)
            projects = json.loads(status.out)["projects"]
            waiting = [project for project in projects if project["state"] == "connecting"]
            assert len(waiting) == len(PROJECTS) - links
            assert {project["last_error"] for project in waiting} == {
                f"waits for its turn: the limit of open files leaves room for {links} projects at a time"
            }
            await sockets[0].reset()
            assert (await raw.connections.receive()).project_id in {project["id"] for project in waiting}
            await logged(tmp_path, links)
            await ended_well(agent)
    assert sum("the limit of open files is reached" in line for line in agent.stderr) == 1
    assert not [line for line in agent.stderr if "Too many open files" in line]


async def test_a_hard_limit_above_the_soft_one_is_used(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, FILE_LOG, projects=PROJECTS)
        shell = LIMITS["a soft limit of 64, a hard one above"].script
        async with open_agent("run", config, cwd=tmp_path, shell=shell) as agent:
            for _ in PROJECTS:
                await raw.connections.receive()
            await ended_well(agent)
    assert "too few open files" not in agent.everything


@pytest.mark.parametrize("shell", [name for name in LIMITS if name.startswith(("14 ", "20 "))])
@pytest.mark.parametrize(
    "command", ["run", "check", "status --json", "tail", "test console.here", "simulate --port 0", "plugins list"]
)
async def test_a_command_that_cannot_work_with_so_few_says_so(command: str, shell: str, tmp_path: Path) -> None:
    write_config(tmp_path, "http://127.0.0.1:1", "[plugins.console.here]\n")
    ended = await run_command(*command.split(), cwd=tmp_path, shell=LIMITS[shell].script)
    number = shell.partition(" ")[0]
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"aintandem-notify: only {number} files may be open at a time, and 48 are needed: {RAISE_IT}\n"
    )


async def test_check_says_what_the_projects_need_and_tail_does_not_begin(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        raw.projects = list(PROJECTS)
        write_config(tmp_path, raw.url, "[plugins.console.here]\n", projects=PROJECTS)
        shell = LIMITS["64 descriptors"].script
        check = await run_command("check", cwd=tmp_path, shell=shell)
        tail = await run_command("tail", cwd=tmp_path, shell=shell)
    assert (check.code, tail.code) == (0, 1)
    assert f"warning: {FEW}\n" in check.out
    assert tail.err == f"aintandem-notify: {FEW}; or name fewer with --project\n"
