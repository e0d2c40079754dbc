"""SIGHUP with a wrong config, or one without a destination that still has a queue."""

from pathlib import Path

import pytest

from support.fault_case import open_case


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("events = [", "config.toml:"),
        ('[plugins.file_log.other]\npahth = "x"\n', "did you mean path?"),
        ('[log]\nlevle = "info"\n', "did you mean level?"),
    ],
)
async def test_a_wrong_config_is_refused_and_the_old_one_stays(tmp_path: Path, table: str, words: str) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent() as agent:
            await case.connected()
            case.configure(table)
            agent.reload()
            assert words in await agent.wait_for_log("reload refused")
            await case.fail("t1")
            await case.arrived()
        assert len(case.raw.sockets) == 1


async def test_the_queue_of_a_removed_destination_is_kept_for_its_return(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        await case.webhook.go_down()
        async with case.agent() as agent:
            await case.connected()
            await case.fail("t1", "t2")
            await agent.wait_for_log("backing off")
            await case.written()
            returns = case.destinations["webhook.ops"]
            case.configure(only=("file_log.audit",))
            agent.reload()
            assert '"queued": 2' in await agent.wait_for_log("is kept")
            await case.webhook.come_up()
            case.configure()
            case.destinations["webhook.ops"] = returns
            agent.reload()
            await case.arrived()
        assert case.webhook_runs() == ["t1", "t2"]
