"""The agent as a service of systemd: ready, alive, reloading, stopping, silent when it hangs. Its heartbeat."""

import signal
from contextlib import closing
from pathlib import Path

import trio

from support.agent_process import ended_well, open_agent
from support.configs import write_config
from support.datagrams import Datagrams, bound_socket
from support.http_server import open_server
from support.raw_http import RestAnswer
from support.raw_orchestrator import open_raw_orchestrator

CONSOLE = "[plugins.console.here]\n"
WATCHDOG_S = 2
"""Seconds of the watchdog; it is fed twice in that time.

A socket of Linux holds at most ten datagrams, so fewer must come while this process waits for the processor.
"""


async def test_it_tells_of_its_whole_life(tmp_path: Path) -> None:
    with closing(bound_socket(str(tmp_path / "notify"))) as bound:
        datagrams = Datagrams(bound)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": f"{WATCHDOG_S}000000"}
        async with open_raw_orchestrator() as raw:
            config = write_config(tmp_path, raw.url, CONSOLE)
            async with open_agent("run", config, cwd=tmp_path, environ=environ) as agent:
                await datagrams.wait_for("READY=1")
                await datagrams.wait_for("WATCHDOG=1")
                await datagrams.wait_until_heard("STATUS=well: 1 of 1 projects connected")
                agent.reload()
                while not (await datagrams.next()).startswith("RELOADING=1\nMONOTONIC_USEC="):
                    pass
                await datagrams.wait_for("READY=1")
                await datagrams.wait_for("WATCHDOG=1")
                agent.terminate()
                await datagrams.wait_for("STOPPING=1")
                assert await agent.wait() == 0


async def test_a_process_that_hangs_feeds_no_watchdog(tmp_path: Path) -> None:
    with closing(bound_socket(str(tmp_path / "notify"))) as bound:
        datagrams = Datagrams(bound)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": f"{WATCHDOG_S}000000"}
        async with open_raw_orchestrator() as raw:
            config = write_config(tmp_path, raw.url, CONSOLE)
            async with open_agent("run", config, cwd=tmp_path, environ=environ) as agent:
                await datagrams.wait_for("WATCHDOG=1")
                await agent.freeze()
                datagrams.forget()
                with trio.move_on_after(WATCHDOG_S) as waited:
                    while await datagrams.next() != "WATCHDOG=1":
                        pass
                assert waited.cancelled_caught
                agent.process.send_signal(signal.SIGCONT)
                await datagrams.wait_for("WATCHDOG=1")
                await ended_well(agent)


async def test_heartbeats_go_out_while_all_is_well(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw, open_server() as pings:
        heartbeat = f'[agent]\nheartbeat_url = "{pings.base}/ping/canary"\nheartbeat_interval = "1s"\n'
        config = write_config(tmp_path, raw.url, CONSOLE, heartbeat)
        async with open_agent("run", config, cwd=tmp_path) as agent:
            await pings.wait_for_requests(3)
            await ended_well(agent)
        assert {request.path for request in pings.requests} == {"/ping/canary"}
    assert "/ping/canary" not in agent.everything


async def test_a_refused_login_fails_the_heartbeat_and_the_status_line(tmp_path: Path) -> None:
    check = "/ping/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
    with closing(bound_socket(str(tmp_path / "notify"))) as bound:
        datagrams = Datagrams(bound)
        async with open_raw_orchestrator() as raw, open_server() as pings:
            raw.rest["POST /api/auth/login"] = RestAnswer({"success": False, "error": "no such user"}, 401)
            heartbeat = f'[agent]\nheartbeat_url = "{pings.base}{check}"\nheartbeat_interval = "1h"\n'
            config = write_config(tmp_path, raw.url, CONSOLE, heartbeat)
            environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
            async with open_agent("run", config, cwd=tmp_path, environ=environ) as agent:
                await pings.wait_for_requests(2)
                while not (line := await datagrams.next()).startswith(
                    "STATUS=failing: 0 of 1 projects connected; "
                ):
                    pass
                await ended_well(agent)
            start, failure = pings.requests
    assert (start.method, start.path) == ("GET", f"{check}/start")
    assert (failure.method, failure.path) == ("POST", f"{check}/fail")
    assert failure.body.startswith(b"failing\n")
    assert "(login, since " in failure.body.decode()
    assert "no such user" in line
