"""The agent as its own process against a scripted orchestrator: one test for each promise."""

from pathlib import Path
from typing import Any

from support.agent_process import ended_well, logged, open_agent
from support.configs import write_config
from support.dbus_service import open_notification_service
from support.raw_orchestrator import open_raw_orchestrator
from support.receivers import WEBHOOK_SECRET, open_slack_receiver, open_webhook_receiver

FILE_LOG = '[plugins.file_log.audit]\npath = "notifications.jsonl"\n'
FAILURES = 'events = ["task_failed", "workflow_execution_failed", "sandbox_error"]\n'

WIRE_EVENTS: dict[str, dict[str, Any]] = {
    "task_queued": {"taskId": "t1", "task": "data-analysis"},
    "task_started": {"taskId": "t1", "task": "data-analysis"},
    "step_progress": {"taskId": "t1", "stepId": "s1", "step": "Load", "status": "in-progress", "progress": 40},
    "output": {"taskId": "t1", "output": "reading sales.csv\n"},
    "artifact": {"taskId": "t1", "artifact": {"path": "out/report.html", "type": "text/html", "size": 2048}},
    "task_completed": {"taskId": "t1", "output": {"rows": 12}, "duration": 42},
    "task_failed": {"taskId": "t2", "task": "train", "error": "CUDA out of memory"},
    "task_cancelled": {"taskId": "t3"},
    "workflow_execution_created": {"executionId": "e1", "workflowId": "w1"},
    "workflow_execution_started": {"executionId": "e1", "workflowId": "w1"},
    "workflow_phase_started": {"executionId": "e1", "workflowId": "w1", "phaseId": "p1", "phase": "Build"},
    "workflow_phase_completed": {"executionId": "e1", "workflowId": "w1", "phaseId": "p1", "phase": "Build"},
    "workflow_execution_paused": {"executionId": "e1", "workflowId": "w1"},
    "workflow_execution_resumed": {"executionId": "e1", "workflowId": "w1"},
    "workflow_execution_completed": {"executionId": "e1", "workflowId": "w1", "duration": 7},
    "workflow_execution_failed": {"executionId": "e2", "workflowId": "w1", "error": "phase Build failed"},
    "sandbox_created": {"sandboxId": "b1", "image": "python:3.12"},
    "sandbox_started": {"sandboxId": "b1"},
    "sandbox_stopped": {"sandboxId": "b1", "exitCode": 0},
    "sandbox_error": {"containerId": "b2", "error": "image not found"},
}


async def test_all_20_types_of_two_projects_arrive_in_a_file(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(
            tmp_path, raw.url, FILE_LOG, 'events = ["*"]\n', projects=("project-123", "project-456")
        )
        async with open_agent("run", config, cwd=tmp_path) as agent:
            for socket in [await raw.connections.receive(), await raw.connections.receive()]:
                for event_type, fields in WIRE_EVENTS.items():
                    await socket.send_event(event_type, **fields)
            lines = await logged(tmp_path, 40)
            await ended_well(agent)
    delivered = {(line["event"]["projectId"], line["event"]["type"]) for line in lines}
    assert delivered == {(project, kind) for project in ("project-123", "project-456") for kind in WIRE_EVENTS}
    assert len(lines) == 40
    by_type = {line["event"]["type"]: line for line in lines}
    assert by_type["task_failed"]["severity"] == "error"
    assert "CUDA out of memory" in by_type["task_failed"]["body"]
    assert by_type["sandbox_error"]["event"]["containerId"] == "b2"


async def test_failures_reach_slack_a_signed_webhook_the_desktop_and_a_file(tmp_path: Path) -> None:
    async with (
        open_raw_orchestrator() as raw,
        open_slack_receiver() as slack,
        open_webhook_receiver() as webhook,
        open_notification_service() as desktop,
    ):
        config = write_config(
            tmp_path,
            raw.url,
            '[plugins.slack.team]\nwebhook_url = { env = "SLACK" }\nrate = "100/s"\n',
            f'[plugins.webhook.ops]\nurl = "{webhook.url}"\nsecret = {{ env = "HOOK" }}\n',
            "[plugins.desktop_notify.me]\n",
            FILE_LOG,
            '[[rules]]\nname = "failures"\n' + FAILURES,
            'notify = ["slack.team", "webhook.ops", "desktop_notify.me", "file_log.audit"]\n',
        )
        environ = {"SLACK": slack.url, "HOOK": WEBHOOK_SECRET, "DBUS_SESSION_BUS_ADDRESS": desktop.address}
        async with open_agent("run", config, cwd=tmp_path, environ=environ) as agent:
            socket = await raw.connections.receive()
            for event_type, fields in WIRE_EVENTS.items():
                await socket.send_event(event_type, **fields)
            await slack.wait_for(3)
            await webhook.wait_for(3)
            popups = await desktop.wait_for(3)
            lines = await logged(tmp_path, 3)
            await ended_well(agent)
    failed = {"task_failed", "workflow_execution_failed", "sandbox_error"}
    assert {line["event"]["type"] for line in lines} == failed
    assert {delivery["type"] for delivery in webhook.deliveries} == failed
    assert set(webhook.ids) == {line["id"] for line in lines}
    assert set(webhook.ids.values()) == {1}
    assert any("train" in message["text"] for message in slack.messages)
    assert any("train" in notification.summary for notification in popups)
    assert not slack.refused
    for secret in (slack.url, WEBHOOK_SECRET, webhook.url):
        assert secret not in agent.everything


async def test_a_cut_connection_comes_back_and_is_told_of_by_rule(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, FILE_LOG, 'events = ["connection/*", "task_completed"]\n')
        async with open_agent("run", config, cwd=tmp_path) as agent:
            first = await raw.connections.receive()
            await first.reset()
            second = await raw.connections.receive()
            await second.send_event("task_completed", taskId="t1")
            lines = await logged(tmp_path, 4)
            await ended_well(agent)
    assert [line["event"]["type"] for line in lines[:4]] == [
        "connection_connected",
        "connection_disconnected",
        "connection_connected",
        "task_completed",
    ]
