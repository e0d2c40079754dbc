"""Changes to the store's file from outside: moved away and back, damaged, emptied, or opened by a second agent."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from support.fault_case import open_case


async def test_a_store_that_is_moved_away_and_back_loses_nothing(tmp_path: Path) -> None:
    away = tmp_path / "away.db"
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent() as agent:
            socket = await case.connected()
            await case.fail("t0")
            await case.arrived()
            case.store.rename(away)
            await case.fail(*(f"t{number}" for number in range(1, 5)))
            assert "moved, deleted or replaced" in await agent.wait_for_log("reading pauses")
            away.rename(case.store)
            await case.arrived()
            assert not socket.closed.is_set()
        assert case.logged_runs() == case.due
        assert sorted(case.webhook_runs()) == sorted(case.due)


async def test_a_second_agent_on_the_same_store_leaves_with_a_sentence(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent() as agent:
            await agent.wait_for_log('"started"')
            async with case.agent(ends=1) as second:
                assert "in use by another agent" in await second.wait_for_log("store.db")
                await second.wait()
            await case.connected()
            await case.fail("t1")
            await case.arrived()
        assert len(case.raw.upgrades) == 1


async def test_a_corrupt_page_is_noticed_and_the_store_kept_aside(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent():
            await case.connected()
            await case.fail("t1")
            await case.arrived()
        content = bytearray(case.store.read_bytes())
        # All pages but the first, which is read when the file is opened.
        content[4096:] = bytes(~byte & 0xFF for byte in content[4096:])
        case.store.write_bytes(content)
        async with case.agent(ends=1) as agent:
            await agent.wait()
        (output,) = agent.stderr
        (name,) = re.findall(r"put aside as (\S+)", output)
        assert not case.store.exists()
        case.fresh_store = True
        async with case.agent():
            await case.connected()
            await case.fail("t2")
            await case.arrived()
            await case.webhook.server.wait_until(
                lambda: "store_degraded" in {delivery["type"] for delivery in case.webhook.deliveries}
            )
        assert (tmp_path / name).read_bytes() == content


async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        with closing(sqlite3.connect(case.store)) as other, other:
            other.execute("CREATE TABLE theirs (id INTEGER)")
        before = case.store.read_bytes()
        async with case.agent(ends=1) as agent:
            await agent.wait()
        assert len(agent.stderr) == 1
        assert case.store.read_bytes() == before
        case.store.unlink()
