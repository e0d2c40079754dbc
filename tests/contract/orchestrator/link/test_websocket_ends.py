"""The end of a link over a real socket: close codes, close frames, and ends without one."""

import pytest
import trio
import trio.testing
from trio_websocket import WebSocketConnection

from aintandem_notify.errors import LinkLost, LinkRefused, OrchestratorError, ProjectGone
from aintandem_notify.orchestrator.link.websocket import SHORT_CLOSE_TIMEOUT_S
from support.links import connected, end_of, in_memory, in_pieces, receive, texts
from support.raw_orchestrator import frame, open_raw_orchestrator


class Broken(Exception):
    """An error that no list of a library's errors contains."""


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1000, LinkLost),
        (1001, LinkLost),
        (1011, LinkLost),
        (1012, LinkLost),
        (1013, LinkLost),
        (1008, LinkRefused),
        (4001, LinkRefused),
        (4401, LinkRefused),
        (4404, ProjectGone),
    ],
)
async def test_close_codes(code: int, kind: type[OrchestratorError]) -> None:
    async with open_raw_orchestrator() as raw:
        async with connected(raw) as (link, socket), trio.open_nursery() as nursery:
            nursery.start_soon(socket.close, code, "so it goes")
            error = await end_of(link)
        assert type(error) is kind
        assert str(code) in str(error)
        assert not isinstance(error, LinkLost | LinkRefused) or error.code == code


@pytest.mark.parametrize("how", ["drop", "reset"])
async def test_an_end_without_a_close_frame(how: str) -> None:
    async with open_raw_orchestrator() as raw, connected(raw) as (link, socket):
        await getattr(socket, how)()
        with pytest.raises(LinkLost) as lost:
            await link.receive_batch()
        assert lost.value.code == 1006


async def test_leaving_the_block_sends_a_close_frame() -> None:
    async with open_raw_orchestrator() as raw:
        async with connected(raw) as (_, socket):
            pass
        await socket.closed.wait()
        assert socket.close_code == 1000


async def test_frames_that_arrive_before_the_answer_to_our_close_frame_are_kept(
    mock_clock: trio.testing.MockClock,
) -> None:
    """The peer may send more before it reads our close frame. Time stands still, so it is never silent."""
    async with open_raw_orchestrator() as raw, connected(raw) as (link, socket):
        socket.stop_reading()
        await socket.send_text('{"type": "ping"}')
        await socket.receive()  # the message that it was reading already
        assert len(await link.receive_batch()) == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.finish)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await socket.send_text("late")
            assert texts(await link.receive_batch()) == ["late"]
            socket.go_on_reading()
            assert "we closed the connection" in str(await end_of(link))


async def test_a_backlog_is_read_before_a_link_is_finished(mock_clock: trio.testing.MockClock) -> None:
    count, text = 40_000, "x" * 1000
    async with in_pieces() as (link, socket, nursery):
        nursery.start_soon(socket.send_bytes_raw, frame(text) * count)
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.start_soon(link.finish)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(await receive(link, count)) == count
        assert "we closed the connection" in str(await end_of(link))


async def test_a_link_that_the_library_cannot_close_is_finished_all_the_same(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaking(*_: object, **__: object) -> None:
        raise Broken("canary")

    async with in_memory() as (link, _, _):
        with monkeypatch.context() as patch:
            patch.setattr(WebSocketConnection, "aclose", breaking)
            await link.finish()
        with pytest.raises(LinkLost, match="we closed the connection"):
            await link.receive_batch()


async def test_a_peer_that_does_not_answer_a_close_frame_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory() as (link, _, outgoing):
        outgoing.send_all_hook = trio.lowlevel.checkpoint  # discards everything
        begun = trio.current_time()
        await link.finish()
        assert trio.current_time() - begun == 1.0
        with pytest.raises(LinkLost, match="we closed the connection"):
            await link.receive_batch()


@pytest.mark.parametrize("seconds", [SHORT_CLOSE_TIMEOUT_S, 0.0], ids=["in time", "after a standstill"])
async def test_a_cancelled_link_sends_a_close_frame_too(seconds: float) -> None:
    """Also if no time is left, as after the machine has suspended the process for longer than the timeout."""
    async with open_raw_orchestrator() as raw:
        with trio.CancelScope() as scope:
            async with connected(raw, hasty_close_s=seconds) as (link, socket):
                scope.cancel()
                await link.receive_batch()
        await socket.closed.wait()
        assert socket.close_code == 1000
