"""Plugins that raise, exit, hang, return invalid values or leave tasks behind affect only themselves."""

from pathlib import Path

from support.fault_case import open_case

DELIVERS = {
    "raises": "    def deliver(self, notification): raise RuntimeError('no')",
    "exits": "    def deliver(self, notification): raise SystemExit(3)",
    "hangs": "    def deliver(self, notification): threading.Event().wait()",
    "sleeps": "    async def deliver(self, notification): await trio.sleep_forever()",
    "junk": "    def deliver(self, notification): return object()",
    "leaks": "    async def deliver(self, notification): self.context.nursery.start_soon(broken)",
}
"""A ``deliver`` for each kind of fault."""

SAYS = {
    "raises": "plugins/raises.py:15: RuntimeError: no",
    "exits": "sys.exit(3) was called",
    "hangs": "past its deadline",
    "sleeps": "deliver took longer than 0.3 s",
    "junk": "returned an object, not a dict",
    "leaks": "background task: plugins/leaks.py:10: ValueError: left behind",
}
"""The text in the log for each of them, after the line that it was loaded."""

LATE = ("hangs", "sleeps")
"""The plugins with a short deadline; the others need time to commit their fault."""

SOURCE = """
import threading

import trio

from aintandem_notify.api import Plugin, hookimpl


async def broken():
    raise ValueError("left behind")


class Bad(Plugin):
    @hookimpl
{deliver}
"""


async def test_bad_plugins_hurt_only_themselves_and_say_why(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    for name, deliver in DELIVERS.items():
        (tmp_path / "plugins" / f"{name}.py").write_text(SOURCE.format(deliver=deliver))
    async with open_case(tmp_path) as case:
        case.faulty = True

        tables = [
            f'[plugins.{name}.x]\nevents = ["task_failed"]\n' + ('timeout = "300ms"\n' if name in LATE else "")
            for name in DELIVERS
        ]
        case.configure(*tables, '[delivery]\ndrain_timeout = "2s"\n')
        async with case.agent() as agent:
            await case.connected()
            await case.fail(*(f"t{number}" for number in range(5)))
            await case.arrived()
            for name, words in SAYS.items():
                assert words in await agent.wait_for_log(f"{name}.x", times=2)
        assert case.logged_runs() == case.due
        assert sorted(case.webhook_runs()) == sorted(case.due)
