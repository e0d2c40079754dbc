"""The agent process on a disk that is full, fails, or is read-only, and with a damaged store."""

import os
import resource
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from support.agent_process import ended_well, open_agent
from support.configs import write_config
from support.raw_orchestrator import RawOrchestrator, event_text, frame, open_raw_orchestrator
from support.receivers import WebhookReceiver, open_webhook_receiver
from support.small_disk import SmallDisk, disk

__all__ = ["disk"]

FULL = "the disk is full; nothing new is read or sent until there is room again"


@dataclass
class Bench:
    """An orchestrator, a receiver and a config; the store is ``store``."""

    folder: Path
    store: Path
    config: Path
    raw: RawOrchestrator
    webhook: WebhookReceiver

    async def wait_for_tasks(self, *names: str) -> None:
        """Waits until all of these tasks have been delivered."""
        await self.webhook.server.wait_until(lambda: set(names) <= set(self.tasks))

    async def wait_for_trouble(self, times: int = 1) -> None:
        """Waits until a notice of the store's trouble has been delivered ``times`` times."""
        await self.webhook.server.wait_until(lambda: len(self.troubles) >= times)

    @property
    def tasks(self) -> list[str]:
        """The delivered tasks, in order."""
        events = [delivery["data"]["event"] for delivery in self.webhook.deliveries]
        return [event["taskId"] for event in events if event["type"] == "task_failed"]

    @property
    def troubles(self) -> list[str]:
        """The reasons in the delivered notices of the store's trouble."""
        events = [delivery["data"]["event"] for delivery in self.webhook.deliveries]
        return [event["reason"] for event in events if event["type"] == "store_degraded"]

    def nothing_came_twice(self) -> bool:
        """Whether every notification arrived once."""
        return set(self.webhook.ids.values()) == {1}

    async def fails_to_start(self, **environ: str) -> str:
        """Starts the agent, which must end at once with exit code 1. Returns its output."""
        async with open_agent("run", self.config, cwd=self.folder, environ=environ) as agent:
            assert await agent.wait() == 1, agent.everything
            assert "Traceback" not in agent.everything
            return agent.everything


@asynccontextmanager
async def open_bench(folder: Path, store: Path | None) -> AsyncIterator[Bench]:
    async with open_raw_orchestrator() as raw, open_webhook_receiver(secret=None) as webhook:
        config = write_config(
            folder,
            raw.url,
            f'[store]\nurl = "sqlite:///{store}"\n' if store else "",
            f'[plugins.webhook.ops]\nurl = "{webhook.url}"\nevents = ["task_failed"]\n',
        )
        yield Bench(folder, store or folder, config, raw, webhook)


def flood(first: int, last: int) -> bytes:
    """Failed tasks with long errors, as frames."""
    texts = [
        event_text("task_failed", "project-123", taskId=f"t{n}", error="x" * 2000) for n in range(first, last)
    ]
    return b"".join(map(frame, texts))


def tasks(first: int, last: int) -> list[str]:
    return [f"t{n}" for n in range(first, last)]


async def test_a_disk_that_fills_under_load_loses_nothing(tmp_path: Path, disk: SmallDisk) -> None:
    async with open_bench(tmp_path, disk.path / "store.db") as bench:
        async with open_agent("run", bench.config, cwd=tmp_path) as agent:
            socket = await bench.raw.connections.receive()
            await socket.send_bytes_raw(flood(0, 50))
            await bench.wait_for_tasks("t49")
            disk.fill()
            await socket.send_bytes_raw(flood(50, 400))
            assert "the disk is full" in await agent.wait_for_log("reading pauses")
            await bench.wait_for_trouble()
            delivered_count = len(bench.tasks)
            assert delivered_count < 400
            await socket.send_bytes_raw(flood(400, 500))
            disk.empty()
            await agent.wait_for_log("the store is well")
            await bench.wait_for_tasks(*tasks(0, 500))
            assert len(bench.raw.sockets) == 1
            await ended_well(agent)
        assert bench.nothing_came_twice()
        assert len(bench.troubles) == 1
        assert bench.troubles[0].endswith(
            "the disk is full; nothing new is read or sent until there is room again"
        )
        # By now the store fills the disk, and most of it can be freed.
        async with open_agent("run", bench.config, cwd=tmp_path) as agent:
            socket = await bench.raw.connections.receive()
            await socket.send_bytes_raw(flood(500, 501))
            await bench.wait_for_tasks("t500")
            await ended_well(agent)
        assert bench.nothing_came_twice()
        with closing(sqlite3.connect(bench.store)) as store:
            assert store.execute("PRAGMA quick_check").fetchone() == ("ok",)


async def test_deliveries_sent_on_a_full_disk_are_remembered_over_a_restart(
    tmp_path: Path, disk: SmallDisk
) -> None:
    async with open_bench(tmp_path, disk.path / "store.db") as bench:
        async with open_agent("run", bench.config, cwd=tmp_path) as agent:
            socket = await bench.raw.connections.receive()
            await socket.send_bytes_raw(flood(0, 30))
            await bench.wait_for_tasks("t0")
            disk.fill()
            await socket.send_bytes_raw(flood(30, 200))
            await agent.wait_for_log("the store is in trouble")
            await bench.wait_for_trouble()
            await ended_well(agent)
        disk.fill()  # freed by the end of the agent
        disk.cut(3 * 2**20)
        before = list(bench.tasks)
        async with open_agent("run", bench.config, cwd=tmp_path) as agent:
            await agent.wait_for_log('"connected"')
            await bench.wait_for_trouble(2)
            assert bench.tasks == before  # queued deliveries stay queued
            disk.empty()
            await bench.wait_for_tasks(*tasks(0, 30))
            await ended_well(agent)
        assert bench.nothing_came_twice()


async def test_a_disk_that_fails_is_waited_for(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("limits of another process are a matter of Linux")
    async with open_bench(tmp_path, tmp_path / "store.db") as bench:
        async with open_agent("run", bench.config, cwd=tmp_path) as agent:
            socket = await bench.raw.connections.receive()
            await socket.send_bytes_raw(flood(0, 1))
            await bench.wait_for_tasks("t0")
            pid = agent.process.pid
            limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
            await socket.send_bytes_raw(flood(1, 100))
            assert "the disk failed to store more" in await agent.wait_for_log("reading pauses")
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
            await bench.wait_for_tasks(*tasks(0, 100))
            await ended_well(agent)
        assert bench.nothing_came_twice()


async def run_anew(bench: Bench) -> None:
    """Checks that the next agent works, and names the file that was put aside."""
    async with open_agent("run", bench.config, cwd=bench.folder) as agent:
        socket = await bench.raw.connections.receive()
        await socket.send_bytes_raw(flood(900, 901))
        await bench.wait_for_tasks("t900")
        await bench.wait_for_trouble()
        await ended_well(agent)
    (aside,) = bench.folder.glob("store.db.damaged-*Z")
    assert f"it was damaged and began anew; the old one is kept as {aside.name}" in bench.troubles[-1]


@pytest.mark.parametrize("keep", [0, 30, 10_000])
async def test_a_damaged_store_is_put_aside_and_the_next_start_begins_anew(tmp_path: Path, keep: int) -> None:
    async with open_bench(tmp_path, tmp_path / "store.db") as bench:
        async with open_agent("run", bench.config, cwd=tmp_path) as agent:
            await agent.wait_for_log('"connected"')
            await ended_well(agent)
        await bench.raw.connections.receive()
        os.truncate(bench.store, keep)
        output = await bench.fails_to_start()
        assert "it was put aside as store.db.damaged-" in output
        assert not bench.store.exists()
        await run_anew(bench)
        assert len(bench.troubles) == 1


@pytest.mark.parametrize("keep", [0, 10_000])
async def test_a_store_that_is_cut_under_the_agent_ends_it(tmp_path: Path, keep: int) -> None:
    async with open_bench(tmp_path, tmp_path / "store.db") as bench:
        async with open_agent("run", bench.config, cwd=tmp_path) as agent:
            socket = await bench.raw.connections.receive()
            await socket.send_bytes_raw(flood(0, 1))
            await bench.wait_for_tasks("t0")
            os.truncate(bench.store, keep)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                # It may have noticed already while it recorded a delivery.
                await socket.send_bytes_raw(flood(1, 2))
            assert await agent.wait() == 1, agent.everything
            assert "it is damaged; nothing more is written into it" in agent.stderr[-1]
            assert "Traceback" not in agent.everything
        assert "it was put aside as" in await bench.fails_to_start()
        await run_anew(bench)


async def test_a_read_only_disk_is_a_sentence(tmp_path: Path, disk: SmallDisk) -> None:
    async with open_bench(tmp_path, disk.path / "store.db") as bench:
        disk.set_read_only()
        assert "it cannot be written; its disk is mounted read-only" in await bench.fails_to_start()


async def test_a_store_on_a_disk_that_became_read_only_is_a_sentence(tmp_path: Path, disk: SmallDisk) -> None:
    async with open_bench(tmp_path, disk.path / "store.db") as bench:
        async with open_agent("run", bench.config, cwd=tmp_path) as agent:
            await agent.wait_for_log('"connected"')
            await ended_well(agent)
        disk.set_read_only()
        assert "it cannot be written; its disk is mounted read-only" in await bench.fails_to_start()


async def test_a_full_disk_at_the_first_start_is_a_sentence(tmp_path: Path, disk: SmallDisk) -> None:
    async with open_bench(tmp_path, disk.path / "store.db") as bench:
        disk.fill()
        assert "the disk is full" in await bench.fails_to_start()


async def test_a_state_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with open_bench(tmp_path, None) as bench:
        output = await bench.fails_to_start(XDG_STATE_HOME=str(tmp_path / "file"))
        assert str(tmp_path / "file" / "aintandem-notify") in output
