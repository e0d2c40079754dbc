"""The agent as its own process after a long outage of Slack: few messages arrive, and nothing is lost."""

import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path

from support.agent_process import ended_well, logged, open_agent
from support.configs import write_config
from support.raw_orchestrator import event_text, frame, open_raw_orchestrator
from support.receivers import open_slack_receiver

RUNS, BAD_EVERY = 150, 10
AN_HOUR_US = 3600 * 1_000_000

SLACK = """
[plugins.slack.team]
webhook_url = "{url}"
events = ["task_*"]
rate = "1000/s"

[plugins.file_log.audit]
path = "notifications.jsonl"
events = ["task_*"]
"""


async def test_a_backlog_goes_out_in_order_with_one_summary_and_every_error(tmp_path: Path) -> None:
    """150 runs start and end, and 15 of them fail; by default Slack gets 26 messages."""
    store = tmp_path / "store.db"
    async with open_raw_orchestrator() as raw, open_slack_receiver() as slack:
        config = write_config(
            tmp_path, raw.url, f'[store]\nurl = "sqlite:///{store}"\n', SLACK.format(url=slack.url)
        )
        await slack.go_down()
        async with open_agent("run", config, cwd=tmp_path) as agent:
            socket = await raw.connections.receive()
            frames = [
                frame(event_text(kind, socket.project_id, taskId=f"t{run}", task=f"run-{run}"))
                for run in range(RUNS)
                for kind in ("task_started", "task_failed" if run % BAD_EVERY == 9 else "task_completed")
            ]
            await socket.send_bytes_raw(b"".join(frames))
            await logged(tmp_path, 2 * RUNS)
            await agent.wait_for_log("backing off")
            await ended_well(agent)
        with closing(sqlite3.connect(store)) as raw_store, raw_store:  # as if Slack had been down for an hour
            raw_store.execute("UPDATE deliveries SET created_at = created_at - ?", [AN_HOUR_US])
        await slack.come_up()
        async with open_agent("run", config, cwd=tmp_path) as agent:
            await slack.wait_for(26)
            assert '"count": 275' in await agent.wait_for_log("backlog folded into a summary")
            await ended_well(agent)
    assert set(slack.ids.values()) == {1}
    headlines = [message["text"] for message in slack.messages]
    assert headlines[1].endswith("275 notifications in one")
    body = str(slack.messages[1]["blocks"])
    assert "144 × task_started, 131 × task_completed" in body
    assert "run-0, run-1" in body
    failed = [line for line in headlines if "failed" in line]
    assert failed == [f'❌ Task "run-{run}" failed · project-123' for run in range(9, RUNS, BAD_EVERY)]
    in_order = defaultdict(list)
    for line in headlines[2:]:
        in_order[line.split('"')[1]].append(line)
    assert all(kinds == sorted(kinds, key=lambda line: "started" not in line) for kinds in in_order.values())
    with closing(sqlite3.connect(store)) as raw_store:
        states = Counter(
            raw_store.execute("SELECT state FROM deliveries WHERE destination = 'slack.team'").fetchall()
        )
    assert states == {("delivered",): 26, ("folded",): 275}
