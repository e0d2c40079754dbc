"""A desktop that is absent, goes away, or reads markup."""

from dataclasses import dataclass, field
from pathlib import Path

import trio

from support.dbus_service import NotificationService, open_bus, serve_notifications
from support.fault_case import KIND, PROJECT, open_case
from support.raw_orchestrator import event_text

DESKTOP = '[plugins.desktop_notify.me]\nevents = ["task_failed"]\n'


async def test_without_a_bus_it_is_unavailable_and_says_so(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure(DESKTOP)
        async with case.agent() as agent:
            await case.connected()
            await case.fail("t1")
            await case.arrived()
            assert "there is no session bus" in await agent.wait_for_log("unavailable")


@dataclass
class Desktop:
    """A bus with a notification service, which can be stopped."""

    address: str = ""
    service: NotificationService | None = None
    dying: trio.Event = field(default_factory=trio.Event)
    dead: trio.Event = field(default_factory=trio.Event)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until it is stopped."""
        async with open_bus() as self.address, serve_notifications(self.address) as self.service:
            task_status.started()
            await self.dying.wait()
        self.dead.set()


async def test_titles_are_escaped_and_a_bus_that_dies_hurts_nobody(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case, trio.open_nursery() as nursery:
        desktop = Desktop()
        await nursery.start(desktop.run)
        assert desktop.service is not None
        case.configure(DESKTOP)
        async with case.agent(environ={"DBUS_SESSION_BUS_ADDRESS": desktop.address}) as agent:
            socket = await case.connected()
            case.miss("t1")
            failed = event_text(KIND, PROJECT, taskId="t1", task="a & <b>", error="x < y & z")
            await socket.send_text(failed)
            (notification,) = await desktop.service.wait_for(1)
            desktop.dying.set()
            await desktop.dead.wait()
            await case.fail("t2")
            await case.arrived()
            assert "unavailable" in await agent.wait_for_log('"name": "desktop_notify.me"')
        # The summary is plain text by the specification; the body is markup.
        assert "a & <b>" in notification.summary
        assert "x &lt; y &amp; z" in notification.body
        assert not desktop.service.complaints
