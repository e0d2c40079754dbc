"""The desktop that is not there, goes away, or takes markup for what it says."""

from contextlib import AsyncExitStack
from pathlib import Path

from support.dbus_service import open_bus, serve_notifications
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


async def test_titles_are_escaped_and_a_bus_that_dies_hurts_nobody(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case, AsyncExitStack() as bus:
        case.configure(DESKTOP)
        address = await bus.enter_async_context(open_bus())
        desktop = await bus.enter_async_context(serve_notifications(address))
        async with case.agent(environ={"DBUS_SESSION_BUS_ADDRESS": address}) as agent:
            socket = await case.connected()
            case.miss("t1")
            failed = event_text(KIND, PROJECT, taskId="t1", task="a & <b>", error="x < y & z")
            await socket.send_text(failed)
            (shown,) = await desktop.wait_for(1)
            await bus.aclose()
            await case.fail("t2")
            await case.arrived()
            assert "unavailable" in await agent.wait_for_log("desktop_notify.me", times=2)
        # The summary is plain text by the specification; the body is markup.
        assert "a & <b>" in shown.summary
        assert "x &lt; y &amp; z" in shown.body
        assert not desktop.complaints
