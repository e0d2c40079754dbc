"""The messages to systemd, on real datagram sockets, and the status line among them."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from aintandem_notify import log
from aintandem_notify.agent.status_line import MAX_CHARACTERS, open_status_line, status_line
from aintandem_notify.agent.systemd import Systemd
from aintandem_notify.domain.health import WELL, Health, HealthState, Reason, ReasonId
from aintandem_notify.domain.notification import Project
from aintandem_notify.orchestrator import ConnectionState, ProjectStatus
from support.datagrams import bound_socket


@pytest.fixture(params=["a path", "an abstract address"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Yields a socket as systemd has one, and its address for ``NOTIFY_SOCKET``."""
    name = f"@aintandem-notify-test-{os.getpid()}" if "abstract" in request.param else str(tmp_path / "notify")
    with closing(bound_socket(name)) as bound:
        yield bound, name


def test_each_message_is_one_datagram(listener: tuple[socket.socket, str]) -> None:
    bound, name = listener
    systemd = Systemd.from_environ({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000000"})
    systemd.ready()
    systemd.status("2 of 3 projects\nconnected")
    systemd.status("2 of 3 projects\nconnected")
    systemd.alive()
    systemd.stopping()
    assert [bound.recv(4096) for _ in range(4)] == [
        b"READY=1",
        b"STATUS=2 of 3 projects connected",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]
    with pytest.raises(BlockingIOError):
        bound.recv(4096)


def test_a_reload_says_when_it_began(listener: tuple[socket.socket, str]) -> None:
    bound, name = listener
    Systemd.from_environ({"NOTIFY_SOCKET": name}).reloading()
    first, second = bound.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdigit()


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        # Not 1: in a container, that may be the process that runs the tests.
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "٣"}, None),
    ],
)
def test_the_watchdog_is_fed_only_where_it_is_meant_for_us(
    environ: dict[str, str], watchdog_s: float | None, listener: tuple[socket.socket, str]
) -> None:
    bound, name = listener
    systemd = Systemd.from_environ({"NOTIFY_SOCKET": name} | environ)
    assert systemd.watchdog_s == watchdog_s
    systemd.alive()
    if watchdog_s is None:
        with pytest.raises(BlockingIOError):
            bound.recv(4096)


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"WATCHDOG_USEC": "30000000"}]
)
def test_away_from_systemd_nothing_happens(environ: dict[str, str]) -> None:
    systemd = Systemd.from_environ(environ)
    assert systemd.watchdog_s is None
    for tell in (systemd.ready, systemd.reloading, systemd.stopping, systemd.alive):
        tell()


def test_a_socket_that_is_gone_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    systemd = Systemd(str(tmp_path / "gone"))
    systemd.ready()
    systemd.stopping()
    assert capsys.readouterr().err.count("systemd cannot be notified") == 1


def test_a_full_socket_holds_nothing_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(bound_socket(str(tmp_path / "notify"))):
        systemd = Systemd(str(tmp_path / "notify"))
        for _ in range(1000):
            systemd.ready()
    assert capsys.readouterr().err.count("systemd cannot be notified") == 1


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROJECTS = [
    ProjectStatus(Project(id=name, name=name), state, NOW)
    for name, state in (("p1", ConnectionState.CONNECTED), ("p2", ConnectionState.RECONNECTING))
]


def failing(*texts: str) -> Health:
    return Health(HealthState.FAILING, tuple(Reason(ReasonId.LOGIN, text, NOW) for text in texts))


@pytest.mark.parametrize(
    ("health", "line"),
    [
        (WELL, "well: 1 of 2 projects connected"),
        (failing("the login is refused"), "failing: 1 of 2 projects connected; the login is refused"),
        (failing("a: b", "c\nd"), "failing: 1 of 2 projects connected; a: b; c d"),
    ],
)
def test_the_status_line_has_the_health_and_the_numbers(health: Health, line: str) -> None:
    assert status_line(health, PROJECTS) == line


def test_the_status_line_has_an_end_and_no_secret() -> None:
    log.register_secret("canary-of-the-status-line")
    line = status_line(failing("canary-of-the-status-line" + " long" * 1000), PROJECTS)
    assert len(line) <= MAX_CHARACTERS
    assert "canary" not in line


def test_a_text_that_is_no_unicode_does_not_end_the_agent(tmp_path: Path) -> None:
    with closing(bound_socket(str(tmp_path / "notify"))) as bound:
        Systemd(str(tmp_path / "notify")).status("failing: \udcff")
        assert bound.recv(4096) == b"STATUS=failing: ?"


async def test_the_status_line_follows_the_health(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    with closing(bound_socket(str(tmp_path / "notify"))) as bound:
        line = "well: all is connected"
        async with open_status_line(Systemd(str(tmp_path / "notify")), lambda: line):
            await trio.sleep(60)
            line = "failing: the login is refused"
            await trio.sleep(1.5)
        assert bound.recv(4096) == b"STATUS=well: all is connected"
        assert bound.recv(4096) == b"STATUS=failing: the login is refused"
        with pytest.raises(BlockingIOError):
            bound.recv(4096)
