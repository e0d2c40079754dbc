"""Reloads and stops of the agent as its own process, and the influence of plugins on them."""

from pathlib import Path

import pytest

from support.agent_process import ended_well, logged, open_agent
from support.configs import write_config
from support.http_server import Reply
from support.raw_orchestrator import open_raw_orchestrator
from support.receivers import open_webhook_receiver

COMPLETED = '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["task_completed"]\n'
FAILED = '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["task_failed"]\n'


async def test_a_reload_applies_new_rules_and_leaves_the_connection_alone(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, COMPLETED)
        async with open_agent("run", config, cwd=tmp_path) as agent:
            socket = await raw.connections.receive()
            await socket.send_event("task_completed", taskId="t1")
            await logged(tmp_path, 1)
            write_config(tmp_path, raw.url, FAILED)
            agent.reload()
            await agent.wait_for_log('"reloaded"')
            await socket.send_event("task_completed", taskId="t2")
            await socket.send_event("task_failed", taskId="t3")
            lines = await logged(tmp_path, 2)
            assert len(raw.sockets) == 1
            await ended_well(agent)
    assert [line["event"]["taskId"] for line in lines] == ["t1", "t3"]


async def test_a_reload_starts_and_stops_projects(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, COMPLETED)
        async with open_agent("run", config, cwd=tmp_path) as agent:
            first = await raw.connections.receive()
            write_config(tmp_path, raw.url, COMPLETED, projects=("project-456",))
            agent.reload()
            second = await raw.connections.receive()
            await first.closed.wait()
            assert (first.project_id, second.project_id) == ("project-123", "project-456")
            await ended_well(agent)


async def test_a_change_that_needs_a_restart_is_refused_and_the_old_config_stays(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, COMPLETED)
        async with open_agent("run", config, cwd=tmp_path) as agent:
            socket = await raw.connections.receive()
            write_config(tmp_path, raw.url, COMPLETED + '[store]\nurl = "sqlite:///other.db"\n')
            agent.reload()
            assert "restart needed" in await agent.wait_for_log("reload refused")
            await socket.send_event("task_completed", taskId="t1")
            await logged(tmp_path, 1)
            await ended_well(agent)


async def test_a_reload_tries_a_parked_destination_at_once_and_so_does_a_start(tmp_path: Path) -> None:
    """A person who repaired the destination has nothing to change in the config."""
    async with open_raw_orchestrator() as raw, open_webhook_receiver(secret=None) as webhook:
        config = write_config(
            tmp_path, raw.url, f'[plugins.webhook.ops]\nurl = "{webhook.url}"\nevents = ["task_completed"]\n'
        )
        webhook.replies.extend([Reply(401), Reply(401)])
        async with open_agent("run", config, cwd=tmp_path) as agent:
            await (await raw.connections.receive()).send_event("task_completed", taskId="t1")
            await agent.wait_for_log("parked")
            await ended_well(agent)
        async with open_agent("run", config, cwd=tmp_path) as agent:
            await agent.wait_for_log("held back since before the start")
            await agent.wait_for_log("destination is still in trouble")
            agent.reload()
            await webhook.wait_for(1)
            assert "recovered" not in await agent.wait_for_log("parked destination is tried at once")
            await ended_well(agent)
    assert set(webhook.ids.values()) == {1}


LIFESPAN = """
import atexit
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import trio

from aintandem_notify.api import Notification, Plugin, PluginNotReady, hookimpl


class Odd(Plugin):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        {line}
        yield

    @hookimpl
    def deliver(self, notification: Notification) -> None:
        pass
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("threading.Thread(target=threading.Event().wait).start()", "plugin loaded"),
        ("atexit.register(threading.Event().wait)", "plugin loaded"),
        ("await trio.to_thread.run_sync(ThreadPoolExecutor().submit, threading.Event().wait)", "plugin loaded"),
        ("raise PluginNotReady('the database is down')", "the database is down"),
    ],
)
async def test_what_a_plugin_leaves_behind_holds_no_exit_back(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "odd.py").write_text(LIFESPAN.format(line=line))
    tables = [
        '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["agent/*"]\n',
        '[plugins.odd.x]\nevents = ["agent/*"]\n',
        '[delivery]\ndrain_timeout = "1h"\n',
    ]
    async with open_raw_orchestrator() as raw:
        async with open_agent("run", write_config(tmp_path, raw.url, *tables), cwd=tmp_path) as agent:
            await raw.connections.receive()
            await logged(tmp_path, 1)
            await agent.wait_for_log(said)
            await ended_well(agent)
        lines = await logged(tmp_path, 2)
    assert lines[-1]["event"]["type"] == "agent_stopped"


async def test_a_parked_destination_is_told_of_elsewhere(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw, open_webhook_receiver(secret=None) as webhook:
        config = write_config(
            tmp_path,
            raw.url,
            COMPLETED,
            f'[plugins.webhook.ops]\nurl = "{webhook.url}"\nevents = ["task_completed"]\n',
        )
        webhook.fail_with(401)
        async with open_agent("run", config, cwd=tmp_path) as agent:
            await (await raw.connections.receive()).send_event("task_completed", taskId="t1")
            lines = await logged(tmp_path, 2)
            await ended_well(agent)
    assert {line["event"]["type"] for line in lines} == {"task_completed", "destination_parked"}
    assert "webhook.ops" in next(line["title"] for line in lines if line["rule"] != "file_log.audit")


async def test_a_refused_login_is_told_once(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        refusal = {"success": False, "error": "Invalid credentials"}
        raw.rest["POST /api/auth/login"] = refusal
        config = write_config(tmp_path, raw.url, COMPLETED, projects=("project-123", "project-456"))
        async with open_agent("run", config, cwd=tmp_path) as agent:
            lines = await logged(tmp_path, 1)
            del raw.rest["POST /api/auth/login"]
            await ended_well(agent)
    assert [line["event"]["type"] for line in lines] == ["login_failed"]
    assert sum("refuses our login" in line for line in agent.stderr) == 1


async def test_a_failed_plugin_that_was_mended_is_loaded_by_a_reload(tmp_path: Path) -> None:
    source = (
        "from contextlib import asynccontextmanager\n"
        "from pathlib import Path\n\n"
        "from aintandem_notify.api import Notification, Plugin, hookimpl\n\n\n"
        "class Teller(Plugin):\n"
        "    def __init__(self):\n"
        "        Path('key').read_text()\n\n"
        "    @hookimpl\n"
        "    def deliver(self, notification: Notification) -> None:\n"
        "        print(notification.title, flush=True)\n"
    )
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "teller.py").write_text(source)
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, "[plugins.teller.me]\n")
        async with open_agent("run", config, cwd=tmp_path) as agent:
            socket = await raw.connections.receive()
            await socket.send_event("task_failed", taskId="t1", task="train")
            await agent.wait_for_log("plugin failed")
            (tmp_path / "key").write_text("here")
            agent.reload()
            assert "train" in await agent.wait_for_output("failed")
            await ended_well(agent)


async def test_start_and_end_are_told_while_they_happen(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        audit = '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["agent/*"]\n'
        config = write_config(tmp_path, raw.url, audit)
        async with open_agent("run", config, cwd=tmp_path) as agent:
            await raw.connections.receive()
            await logged(tmp_path, 1)
            await ended_well(agent)
        lines = await logged(tmp_path, 2)
    assert [line["event"]["type"] for line in lines] == ["agent_started", "agent_stopped"]
