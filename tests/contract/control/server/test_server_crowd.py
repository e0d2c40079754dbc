"""A local user without the token can neither block the owner's requests nor exhaust the agent's descriptors."""

import errno
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from aintandem_notify.control.server.server import SERVER_LOG
from aintandem_notify.foundation.open_files import MAX_CONTROL_CONNECTIONS
from support.control import PATIENT, Scene, open_scene
from support.nasty.local_user import OPENINGS

CROWD = 3 * MAX_CONTROL_CONNECTIONS
DESCRIPTORS = MAX_CONTROL_CONNECTIONS + 3
"""Maximum number of descriptors of the API: connections, the listening socket, the file, one to spare."""
PATIENCE_S = 300.0
"""Timeout in seconds; reached only if a test fails."""


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    # No deadline makes room.
    async with open_scene(tmp_path, times=replace(PATIENT, grace_s=0.02, keep_alive_s=3600.0)) as scene:
        yield scene


def port_of(scene: Scene) -> int:
    return urlsplit(scene.whereabouts().address).port or 0


@contextmanager
def crowd(port: int, opening: bytes, size: int = CROWD) -> Iterator[list[socket.socket]]:
    """Opens connections that send this, as far as the server reads it, and stay open."""
    with ExitStack() as stack:
        connections = []
        for _ in range(size):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.setblocking(False)
            with suppress(BlockingIOError, ConnectionError):
                connection.send(opening.replace(b"{port}", str(port).encode()))
            connections.append(connection)
        yield connections


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)
async def test_the_owner_of_the_token_gets_in_whatever_the_others_do(scene: Scene, opening: bytes) -> None:
    before = descriptors()
    with crowd(port_of(scene), opening) as there:
        for _ in range(3):
            assert (await scene.request("GET", "/status"))[0] == 200
        assert descriptors() - before - len(there) <= DESCRIPTORS
        assert (await scene.request("GET", "/healthz", token=None))[0] == 200
    assert (await scene.request("GET", "/status"))[0] == 200


async def test_one_after_the_other_takes_no_more(scene: Scene) -> None:
    before = descriptors()
    for opening in OPENINGS.values():
        with crowd(port_of(scene), opening, size=5):
            await scene.request(
                "GET", "/healthz", token=None
            )  # connections in the kernel's queue are accepted meanwhile
    assert (await scene.request("GET", "/status"))[0] == 200
    assert descriptors() - before <= DESCRIPTORS


async def test_connections_that_their_clients_closed_are_given_back(scene: Scene) -> None:
    before = descriptors()
    for opening in (b"", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
        with crowd(port_of(scene), opening, size=MAX_CONTROL_CONNECTIONS):
            assert (await scene.request("GET", "/status"))[0] == 200
    while descriptors() > before:  # noqa: ASYNC110  # nobody tells of a closed descriptor
        await trio.sleep(0.01)


async def test_a_client_that_says_no_more_gets_its_answer(scene: Scene) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port_of(scene)) as stream:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await stream.send_eof()
        answer = b"".join([piece async for piece in stream])
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["ok"] is True


async def test_what_the_owner_has_asked_is_not_cut_off_for_others(scene: Scene) -> None:
    begun, goes_on = trio.Event(), trio.Event()

    async def slow_facts(_name: str) -> dict[str, object]:
        begun.set()
        await goes_on.wait()
        return {"slow": True}

    scene.diagnose = slow_facts  # type: ignore[method-assign,assignment]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_request_slow_plugin, scene)
        await begun.wait()
        with crowd(port_of(scene), b"GET /sta"):
            assert (await scene.request("GET", "/healthz", token=None))[0] == 200
            goes_on.set()


async def _request_slow_plugin(scene: Scene) -> None:
    status, answer = await scene.request("GET", "/plugins/file_log.a")
    assert (status, answer["facts"]) == (200, {"slow": True})


SILENT_SO_FAR = ["silence", "half a request line", "half a head", "a question, kept alive"]


@pytest.mark.parametrize("opening", SILENT_SO_FAR)
async def test_what_asks_nothing_or_does_not_get_it_out_is_closed(tmp_path: Path, opening: str) -> None:
    times = replace(PATIENT, keep_alive_s=0.05)
    async with (
        open_scene(tmp_path, times=times) as scene,
        await trio.open_tcp_stream("127.0.0.1", port_of(scene)) as stream,
    ):
        if OPENINGS[opening]:
            await stream.send_all(OPENINGS[opening].replace(b"{port}", str(port_of(scene)).encode()))
        with trio.fail_after(PATIENCE_S):
            answer = b"".join([piece async for piece in stream])
    assert (b"200" in answer) is (opening == "a question, kept alive")


async def test_a_body_has_a_deadline(tmp_path: Path) -> None:
    length = {"Content-Length": "100"}
    async with open_scene(tmp_path, times=replace(PATIENT, body_s=0.05)) as scene:
        status, answer = await scene.request("POST", "/deliveries/drop", raw=b"{", headers=length)
    assert status == 408
    assert "did not end" in answer["error"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
async def test_where_no_descriptor_is_left_it_says_so_once_and_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    port, failures = port_of(scene), 5
    accept = socket.socket._accept  # type: ignore[attr-defined]

    def failing(self: socket.socket) -> object:
        nonlocal failures
        if failures and self.getsockname()[1] == port:
            failures -= 1
            raise OSError(number, "made up")
        return accept(self)

    monkeypatch.setattr(socket.socket, "_accept", failing)
    with caplog.at_level(logging.WARNING, SERVER_LOG):
        for _ in range(2):
            assert (await scene.request("GET", "/status"))[0] == 200
    assert failures == 0
    messages = [record.getMessage() for record in caplog.records if record.name == SERVER_LOG]
    assert messages == ["no connection can be accepted: made up", "connections are accepted again"]


async def test_what_cannot_be_read_is_said_once_a_kind(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    junk = OPENINGS["upgrade to HTTP/2, wrong settings"]
    with caplog.at_level(logging.WARNING, SERVER_LOG):
        for _ in range(3):
            with crowd(port_of(scene), junk, size=3):
                assert (await scene.request("GET", "/status"))[0] == 200
    messages = [record.getMessage() for record in caplog.records if record.name == SERVER_LOG]
    assert len(messages) == len(set(messages)) <= 1
