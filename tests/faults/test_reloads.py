"""SIGHUP with a wrong config, or one without a destination that still has a queue."""

from functools import partial
from pathlib import Path

import pytest

from support.fault_case import open_case
from support.hosting import until


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
        assert sorted(case.webhook_runs()) == ["t1", "t2"]


PLUGIN = """
from pathlib import Path
from aintandem_notify.api import Notification, Plugin, hookimpl

class Beep(Plugin):
    @hookimpl
    def deliver(self, notification: Notification) -> None:
        with Path({folder!r}, self.context.name).open("a") as lines:
            lines.write("{version}\\n")
"""


async def test_a_changed_plugin_file_is_taken_by_all_its_instances_or_by_none(tmp_path: Path) -> None:
    tables = ['[plugins.beep.a]\nevents = ["task_failed"]\n', '[plugins.beep.b]\nevents = ["task_failed"]\n']
    file = tmp_path / "plugins" / "beep.py"
    file.parent.mkdir()

    async def wrote(*versions: str) -> None:
        for name in ("beep.a", "beep.b"):
            await until(partial(read, tmp_path / name), lambda lines: lines == list(versions))

    async with open_case(tmp_path) as case:
        file.write_text(PLUGIN.format(folder=str(tmp_path), version=1))
        case.configure(*tables)
        async with case.agent() as agent:
            await case.connected()
            await case.fail("t1")
            await wrote("1")
            for wrong in ("class Beep(Plugin:\n", None):
                # A wrong file, then none; at the same time the table of one instance changes.
                file.unlink() if wrong is None else file.write_text(wrong)
                case.configure(tables[0], f"{tables[1]}rate = '9/s'\n")
                agent.reload()
                assert "beep" in await agent.wait_for_log("reload refused")
            await case.fail("t2")
            await wrote("1", "1")
            file.write_text(PLUGIN.format(folder=str(tmp_path), version=2))
            agent.reload()
            assert '"instances": ["beep.a", "beep.b"]' in await agent.wait_for_log("plugin code changed")
            await agent.wait_for_log('"reloaded"')
            await case.fail("t3")
            await wrote("1", "1", "2")


def read(path: Path) -> list[str]:
    """The lines of the file; none if it does not exist yet."""
    return path.read_text().splitlines() if path.exists() else []
