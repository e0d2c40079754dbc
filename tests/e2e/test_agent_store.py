"""The agent as its own process, and its store in trouble or in other hands."""

from pathlib import Path

from support.agent_process import ended_well, logged, open_agent
from support.configs import write_config
from support.raw_orchestrator import open_raw_orchestrator

LOG = '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["task_failed"]\n'


def store_in(folder: Path) -> str:
    return f'[store]\nurl = "sqlite:///{folder / "store.db"}"\n'


async def test_a_store_that_is_taken_away_and_brought_back_costs_nothing(tmp_path: Path) -> None:
    store, away = tmp_path / "store.db", tmp_path / "away.db"
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, store_in(tmp_path), LOG)
        async with open_agent("run", config, cwd=tmp_path) as agent:
            socket = await raw.connections.receive()
            await socket.send_event("task_failed", taskId="t0")
            await logged(tmp_path, 1)
            store.rename(away)
            for number in range(1, 5):
                await socket.send_event("task_failed", taskId=f"t{number}")
            assert "moved, deleted or replaced" in await agent.wait_for_log("reading pauses")
            away.rename(store)
            lines = await logged(tmp_path, 5)
            assert len(raw.sockets) == 1
            await ended_well(agent)
    assert [line["event"]["taskId"] for line in lines] == [f"t{number}" for number in range(5)]


async def test_a_second_agent_on_the_same_store_leaves_with_a_sentence(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, store_in(tmp_path), LOG)
        async with open_agent("run", config, cwd=tmp_path) as agent:
            await agent.wait_for_log('"started"')
            async with open_agent("run", config, cwd=tmp_path) as second:
                assert "in use by another agent" in await second.wait_for_log("store.db")
                assert await second.wait() == 1
                assert "Traceback" not in second.everything
            socket = await raw.connections.receive()
            await socket.send_event("task_failed", taskId="t1")
            await logged(tmp_path, 1)
            await ended_well(agent)
