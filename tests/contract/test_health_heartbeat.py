"""Pings over a real socket: sent while the agent is well; the log says when they stop."""

from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
import trio
from structlog.testing import capture_logs

from aintandem_notify.config import AgentConfig, Secret
from aintandem_notify.health import heartbeat
from aintandem_notify.health.heartbeat import Heartbeat, open_heartbeat
from aintandem_notify.http_client import HttpClient
from support.http_server import LoopbackServer, Reply, open_server

PATH = "/ping/5f0c-canary"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ping here gets a response, so a busy machine may take its time."""
    monkeypatch.setattr(heartbeat, "TIMEOUT_S", 300.0)


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with open_server() as server:
        yield server


def config(url: str) -> AgentConfig:
    """Settings with a shorter interval than a config may have."""
    return AgentConfig.model_construct(heartbeat_url=Secret(url), heartbeat_interval=0.01)


class Agent:
    """The parts that the dead man's switch reads."""

    def __init__(self, url: str) -> None:
        self.config = config(url)
        self.problem: str | None = None

    def settings(self) -> AgentConfig:
        return self.config

    def trouble(self) -> str | None:
        return self.problem


def logged_messages(lines: Sequence[Mapping[str, object]]) -> list[object]:
    """The logged messages, in order; checks that none contains the URL."""
    assert "canary" not in str(lines)
    return [line["event"] for line in lines]


async def test_pings_come_again_and_again_until_the_end(server: LoopbackServer) -> None:
    agent = Agent(server.base + PATH)
    async with HttpClient() as http, open_heartbeat(agent.settings, trouble=agent.trouble, http=http):
        await server.wait_for_requests(3)
    assert {(request.method, request.path) for request in server.requests} == {("GET", PATH)}


async def test_a_reload_counts_from_the_next_ping(server: LoopbackServer) -> None:
    agent = Agent(server.base + PATH)
    async with HttpClient() as http, open_heartbeat(agent.settings, trouble=agent.trouble, http=http):
        await server.wait_for_requests(1)
        agent.config = config(server.base + "/other")
        await server.wait_until(lambda: server.requests[-1].path == "/other")


async def test_without_an_address_nothing_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    asked = []
    async with (
        HttpClient() as http,
        open_heartbeat(AgentConfig, trouble=lambda: asked.append("trouble"), http=http),
    ):
        await trio.sleep(3600)
    assert asked == []


async def test_none_while_something_is_wrong_and_that_is_said_once(server: LoopbackServer) -> None:
    agent = Agent(server.base + PATH)
    url = Secret(server.base + PATH)
    async with HttpClient() as http:
        beating = Heartbeat(agent.settings, agent.trouble, http)
        agent.problem = "the disk is full"
        with capture_logs() as lines:
            for _ in range(3):
                await beating.ping_if_well(url)
            assert server.requests == []
            agent.problem = None
            for _ in range(2):
                await beating.ping_if_well(url)
        assert len(server.requests) == 2
    assert logged_messages(lines) == ["no heartbeats until all is well again", "all is well, heartbeats go on"]
    assert lines[0]["reason"] == "the disk is full"


@pytest.mark.parametrize("down", [False, True])
async def test_a_ping_that_fails_is_said_once(down: bool, server: LoopbackServer) -> None:
    agent = Agent(server.base + PATH)
    url = Secret(server.base + PATH)
    async with HttpClient() as http:
        beating = Heartbeat(agent.settings, agent.trouble, http)
        if down:
            await server.go_down()
        else:
            server.replies.extend([Reply(404), Reply(302)])
        with capture_logs() as lines:
            for _ in range(2):
                await beating.ping_if_well(url)
            if down:
                await server.come_up()
            for _ in range(2):
                await beating.ping_if_well(url)
    assert logged_messages(lines) == ["the heartbeat did not arrive", "heartbeats arrive again"]
