"""Many connections without a login do not shut out clients with one, and use few descriptors."""

import errno
import logging
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from aintandem_notify.simulator.server import MAX_UNAUTHENTICATED
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.wire.fault_proxy import MAX_IN_TRANSIT
from support.nasty.local_user import OPENINGS
from support.simulated import call, login, watching

CROWD = MAX_UNAUTHENTICATED + 60


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("name", ["silence", "half a head", "a body that never comes", "a wrong token", "HTTP/2"])
async def test_a_crowd_of_connections_shuts_out_no_client(simulator: Simulator, name: str) -> None:
    opening = OPENINGS[name].replace(b"{port}", str(simulator.port).encode())
    async with watching(simulator) as socket_there:
        before = descriptors()
        with ExitStack() as stack:
            for _ in range(CROWD):
                stranger = stack.enter_context(socket.socket())
                stranger.connect(("127.0.0.1", simulator.port))
                stranger.setblocking(False)
                with suppress(BlockingIOError, ConnectionError):
                    stranger.send(opening)
            token = (await login(simulator))["token"]
            assert (await call(simulator, "GET", "/projects", token=token))[0] == 200
            assert descriptors() - before - CROWD <= 3 * (MAX_UNAUTHENTICATED + MAX_IN_TRANSIT + 2)
        simulator.send("project-123", '{"here": true}')
        assert await socket_there.get_message() == '{"here": true}'


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ECONNABORTED])
async def test_an_error_of_accept_does_not_end_the_simulator(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    failures, accept = 3, socket.socket._accept  # type: ignore[attr-defined]

    def failing(self: socket.socket) -> object:
        nonlocal failures
        if failures and self.getsockname()[1] == simulator.port:
            failures -= 1
            raise OSError(number, "made up")
        return accept(self)

    monkeypatch.setattr(socket.socket, "_accept", failing)
    with caplog.at_level(logging.WARNING):
        assert (await call(simulator, "GET", "/health"))[0] == 200
    messages = [record.getMessage() for record in caplog.records]
    expected = ["no connection can be accepted: made up", "connections are accepted again"]
    assert messages == ([] if number == errno.ECONNABORTED else expected)
