"""Pings over a real socket, in virtual time: their method, path, query and text, and the log about them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify import log
from aintandem_notify.config import AgentConfig, Secret
from aintandem_notify.domain.health import WELL, Health, HealthState, Reason, ReasonId
from aintandem_notify.health.heartbeat import Heartbeat, open_heartbeat
from aintandem_notify.http_client import HttpClient
from support.http_server import Answer, LoopbackServer, Received, Reply, open_server
from support.nasty import receivers_http

UUID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
CHECK = f"/ping/{UUID}"
PLAIN = "/canary/ping"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STARTING = Health(HealthState.DEGRADED, (Reason(ReasonId.STARTING, "not connected yet", NOW),))
DEGRADED = Health(HealthState.DEGRADED, (Reason(ReasonId.LINK, "p1: the link is down", NOW, "p1"),))
FAILING = Health(HealthState.FAILING, (Reason(ReasonId.LOGIN, "the login is refused", NOW),))


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with open_server() as server:
        yield server


class Monitored:
    """An agent whose health and settings a test sets, and its heartbeat to the server."""

    def __init__(self, server: LoopbackServer, http: HttpClient, clock: MockClock) -> None:
        self.health = WELL
        self.config = AgentConfig()
        self._server = server
        self._clock = clock
        self._heartbeat = Heartbeat(lambda: self.config, lambda: self.health, http)

    def set(self, path: str, **keys: Any) -> None:
        """Replaces the settings, as a reload does."""
        self.config = AgentConfig(heartbeat_url=Secret(self._server.base + path), **keys)

    async def live(self, seconds: int, health: Health | None = None) -> list[str]:
        """Lets time pass second by second. Returns the requests as ``GET /path`` or ``POST /path: text``."""
        self.health = health or self.health
        before = len(self._server.requests)
        for _ in range(seconds):
            await self._heartbeat.beat()
            self._clock.jump(1)
        return [shown(request) for request in self._server.requests[before:]]


def shown(request: Received) -> str:
    text = request.body.decode().replace("\n", " | ")
    return f"{request.method} {request.path}" + (f": {text}" if request.method == "POST" else "")


# pytest-trio uses a clock only if the test itself names it.
@pytest.fixture
async def monitored(server: LoopbackServer, mock_clock: MockClock) -> AsyncIterator[Monitored]:
    async with HttpClient() as http:
        yield Monitored(server, http, mock_clock)


def logged_messages(lines: Sequence[Mapping[str, object]]) -> list[object]:
    """The logged messages, in order; checks that none contains the URL."""
    assert "canary" not in str(lines)
    assert UUID not in str(lines)
    return [line["event"] for line in lines]


async def test_a_life_with_the_conventions(monitored: Monitored, mock_clock: MockClock) -> None:
    monitored.set(f"{CHECK}?rid={UUID}")
    query, since = f"?rid={UUID}", "since 2026-03-01T12:00:00Z"
    assert await monitored.live(30, STARTING) == [f"GET {CHECK}/start{query}"]
    assert await monitored.live(61, WELL) == [f"GET {CHECK}{query}"] * 2
    link = f"degraded | p1: the link is down (link, {since})"
    assert await monitored.live(30, DEGRADED) == [f"POST {CHECK}/log{query}: {link}"]
    assert await monitored.live(31) == [f"POST {CHECK}{query}: {link}"]
    login = f"failing | the login is refused (login, {since})"
    assert await monitored.live(61, FAILING) == [f"POST {CHECK}/fail{query}: {login}"] * 2
    assert await monitored.live(1, DEGRADED) == [f"POST {CHECK}{query}: {link}"]
    assert await monitored.live(1, WELL) == [f"POST {CHECK}/log{query}: well"]


async def test_a_life_with_plain_pings(monitored: Monitored, mock_clock: MockClock) -> None:
    monitored.set(PLAIN + "?status=up&msg=OK&ping=")
    ping = f"GET {PLAIN}?status=up&msg=OK&ping="
    with capture_logs() as lines:
        assert await monitored.live(30, STARTING) == []
        assert await monitored.live(61, WELL) == [ping] * 2
        assert await monitored.live(120, FAILING) == []
        assert await monitored.live(61, DEGRADED) == [ping] * 2
    assert logged_messages(lines) == ["no heartbeats while the agent is failing", "heartbeats go on"]


async def test_the_style_of_the_config_decides_before_the_look_of_the_address(
    monitored: Monitored, mock_clock: MockClock
) -> None:
    monitored.set(CHECK, heartbeat_style="plain")
    assert await monitored.live(1, WELL) == [f"GET {CHECK}"]
    assert await monitored.live(70, FAILING) == []
    monitored.set(PLAIN, heartbeat_style="healthchecks")
    (ping,) = await monitored.live(1)
    assert ping.startswith(f"POST {PLAIN}/fail: failing")


async def test_a_reload_counts_within_a_second(monitored: Monitored, mock_clock: MockClock) -> None:
    assert await monitored.live(10) == []
    monitored.set(PLAIN, heartbeat_interval="1h")
    assert await monitored.live(100) == [f"GET {PLAIN}"]
    monitored.set("/other", heartbeat_interval="1h")
    assert await monitored.live(100) == ["GET /other"]
    monitored.set("/other", heartbeat_interval="40s")
    assert await monitored.live(1) == ["GET /other"]
    monitored.config = AgentConfig()
    assert await monitored.live(3600) == []
    # The agent is not new, so this is no start.
    monitored.set(CHECK)
    assert await monitored.live(1) == [f"GET {CHECK}"]


async def test_a_service_that_only_looks_like_healthchecks_gets_plain_pings(
    monitored: Monitored, server: LoopbackServer, mock_clock: MockClock
) -> None:
    server.respond = lambda request: Reply(200 if request.path == CHECK else 404, b"beat")
    monitored.set(CHECK)
    with capture_logs() as lines:
        assert await monitored.live(10, WELL) == [f"GET {CHECK}/start", f"GET {CHECK}"]
        assert await monitored.live(100, FAILING) == []
        assert await monitored.live(1, DEGRADED) == [f"GET {CHECK}"]
    assert logged_messages(lines)[0] == "heartbeat_url gets plain pings only: its service does not know /start"


async def test_a_check_that_does_not_exist_keeps_the_conventions(
    monitored: Monitored, server: LoopbackServer, mock_clock: MockClock
) -> None:
    server.respond = lambda _request: Reply(404, b"not found")
    monitored.set(CHECK)
    await monitored.live(10, WELL)
    server.respond = lambda _request: Reply(200, b"OK")
    (ping,) = await monitored.live(1, FAILING)
    assert ping.startswith(f"POST {CHECK}/fail")


NOT_COUNTED: list[tuple[Answer, str]] = [
    (Reply(200, b"OK (not found)"), "no such check"),
    (Reply(200, b"OK (rate limited)"), "OK (rate limited)"),
    (Reply(404, b"not found"), "HTTP 404"),
    (Reply(302, b""), "HTTP 302"),
    (Reply(200, b"<html>Log in to the network</html>"), "a web page"),
]


@pytest.mark.parametrize(("answer", "words"), NOT_COUNTED)
async def test_a_ping_that_does_not_count_is_warned_of_once_and_again_after_it_did(
    answer: Answer, words: str, monitored: Monitored, server: LoopbackServer, mock_clock: MockClock
) -> None:
    monitored.set(CHECK)
    with capture_logs() as lines:
        for respond in (answer, Reply(200, b"OK"), answer):
            server.respond = lambda _request, respond=respond: respond  # type: ignore[misc]
            await monitored.live(150, WELL)
    warning, end = "the heartbeat did not arrive", "heartbeats arrive again"
    assert logged_messages(lines) == [warning, end, warning]
    assert words in str(lines[0]["reason"])


@pytest.mark.parametrize("name", receivers_http.PORTALS)
async def test_a_portal_in_the_place_of_the_service_counts_no_ping(
    name: str, monitored: Monitored, server: LoopbackServer, mock_clock: MockClock
) -> None:
    server.respond = lambda _request: receivers_http.PORTALS[name]
    monitored.set(CHECK)
    with capture_logs() as lines:
        await monitored.live(130, WELL)
    assert logged_messages(lines) == ["the heartbeat did not arrive"]


async def test_no_answer_ends_the_heartbeat(server: LoopbackServer) -> None:
    url = Secret(server.base + CHECK)
    logged = dict[str, int]()
    async with HttpClient() as http:
        for name, answer in {**receivers_http.ANSWERS, **receivers_http.SLACK}.items():
            server.respond = lambda _request, answer=answer: answer  # type: ignore[misc]
            heartbeat = Heartbeat(lambda: AgentConfig(heartbeat_url=url), lambda: FAILING, http)
            with capture_logs() as lines:
                await heartbeat.beat()
            logged[name] = len(lines)
            assert UUID not in str(lines)
    assert [name for name, count in logged.items() if count > 1] == []


async def test_a_check_that_does_not_exist_is_warned_of_even_after_other_trouble(
    monitored: Monitored, server: LoopbackServer, mock_clock: MockClock
) -> None:
    monitored.set(CHECK)
    with capture_logs() as lines:
        await server.go_down()
        await monitored.live(61, WELL)
        await server.come_up()
        for body in (b"OK (not found)", b"OK (rate limited)", b"OK (not found)"):
            server.respond = lambda _request, body=body: Reply(200, body)  # type: ignore[misc]
            await monitored.live(61)
    assert logged_messages(lines) == ["the heartbeat did not arrive"] * 2
    assert "no such check" in str(lines[1]["reason"])


async def test_a_service_that_is_down_is_warned_of_once(
    monitored: Monitored, server: LoopbackServer, mock_clock: MockClock
) -> None:
    monitored.set(PLAIN)
    await server.go_down()
    with capture_logs() as lines:
        await monitored.live(200, WELL)
        await server.come_up()
        await monitored.live(100)
    assert logged_messages(lines) == ["the heartbeat did not arrive", "heartbeats arrive again"]


async def test_no_secret_is_in_a_text(monitored: Monitored, server: LoopbackServer, mock_clock: MockClock) -> None:
    log.register_secret("canary-of-the-heartbeat")
    monitored.set(CHECK)
    text = "cannot log in with canary-of-the-heartbeat"
    await monitored.live(1, Health(HealthState.FAILING, (Reason(ReasonId.LOGIN, text, NOW),)))
    assert b"cannot log in" in server.requests[-1].body
    assert b"canary" not in server.requests[-1].body


async def test_pings_come_again_and_again_until_the_end(server: LoopbackServer) -> None:
    config = AgentConfig.model_construct(
        heartbeat_url=Secret(server.base + PLAIN), heartbeat_interval=0.5, heartbeat_style="auto"
    )
    async with HttpClient() as http, open_heartbeat(lambda: config, health=lambda: WELL, http=http):
        await server.wait_for_requests(3)
    assert {shown(request) for request in server.requests} == {f"GET {PLAIN}"}


async def test_without_an_address_nobody_is_asked(autojump_clock: MockClock) -> None:
    def health() -> Health:
        raise AssertionError("nobody wants it")

    async with HttpClient() as http, open_heartbeat(AgentConfig, health=health, http=http):
        await trio.sleep(3600)
