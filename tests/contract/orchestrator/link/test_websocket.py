"""A link over a real socket: its frames, its limits and its descriptors."""

import gc
import json
from pathlib import Path

import h11
import pytest
import trio
import trio.testing
from trio_websocket import WebSocketConnection

from aintandem_notify.domain.events import BinaryFrame
from aintandem_notify.errors import LinkLost, LinkRefused, OrchestratorError, ProjectGone
from aintandem_notify.foundation.memory_budget import MemoryBudget
from aintandem_notify.orchestrator.link.frame_memory import COPIES, FrameMemory
from aintandem_notify.orchestrator.link.text_frames import PORTION_FRAMES
from aintandem_notify.orchestrator.link.websocket import MAX_BATCH_FRAMES, MAX_MESSAGE_SIZE, Frame, open_link
from aintandem_notify.orchestrator.protocol.address import SocketTarget
from support.links import connected, end_of, in_pieces, receive, settings, target, texts
from support.nasty.orchestrator_http import UPGRADES
from support.nasty.wire import WireAnswer
from support.raw_orchestrator import (
    Garbage,
    RawOrchestrator,
    Refuse,
    Reset,
    Silence,
    UpgradeAnswer,
    WrongAccept,
    frame,
    open_raw_orchestrator,
)

CANARY = "canary-4f1d"


class Broken(Exception):
    """An error that no list of a library's errors contains."""


@pytest.mark.parametrize("error", [Broken("canary"), ValueError("canary"), AssertionError("canary")], ids=repr)
@pytest.mark.parametrize(
    "method", ["_reader_task", "_send", "get_message", "_handle_message_event", "ping", "send_message", "aclose"]
)
async def test_every_exception_of_the_library_ends_the_link_and_nothing_else(
    method: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaking(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(WebSocketConnection, method, breaking)
    async with open_raw_orchestrator() as raw, trio.open_nursery() as nursery:
        nursery.start_soon(send_one, raw)
        with pytest.raises(LinkLost) as lost:
            await use(target(raw), method)
        nursery.cancel_scope.cancel()
    assert str(lost.value) == f"the WebSocket library failed ({type(error).__name__})"


async def use(where: SocketTarget, method: str) -> None:
    """Open a link and make the library call ``method``."""
    async with open_link(where, settings()) as link:
        match method:
            case "ping":
                await link._ping()  # type: ignore[attr-defined]  # as its heartbeat does
            case "send_message":
                await link._send("ping")  # type: ignore[attr-defined]
            case "aclose":
                return
        await end_of(link)


async def send_one(raw: RawOrchestrator) -> None:
    socket = await raw.connections.receive()
    await socket.send_bytes_raw(frame("half of ", final=False))  # a whole text message bypasses the library


def open_files() -> int:
    """Our tasks, without leftovers of earlier tests that wait for the garbage collector."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def until_open_files(count: int) -> None:
    """Wait for the server: it may have to accept a connection before it sees that the client has gone."""
    with trio.fail_after(60):
        while open_files() != count:  # noqa: ASYNC110  # the kernel tells nobody
            await trio.sleep(0.01)


async def connect_and_be_reset(raw: RawOrchestrator, connect_timeout: float) -> None:
    async with open_link(target(raw), settings(connect_timeout=connect_timeout)) as link:
        socket = await raw.connections.receive()
        await socket.reset()
        await link.receive_batch()


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files through /proc")


async def test_frames_arrive_in_order_and_in_batches() -> None:
    sent = [json.dumps({"n": n}) for n in range(5000)]
    async with open_raw_orchestrator() as raw, connected(raw) as (link, socket):
        assert socket.project_id == "p"
        assert socket.token == CANARY
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.send_bytes_raw, b"".join(frame(text) for text in sent))
            assert texts(await receive(link, len(sent))) == sent
        await socket.send_binary(b"\x00\xff")
        await socket.send_text("ü")
        assert await receive(link, 2) == [BinaryFrame(b"\x00\xff"), "ü".encode()]


def http_parsers() -> set[h11.Connection]:
    """The parsers of HTTP that clients hold."""
    gc.collect()
    parsers = [found for found in gc.get_objects() if isinstance(found, h11.Connection)]
    return {parser for parser in parsers if parser.our_role is h11.CLIENT}


async def test_an_open_link_keeps_nothing_of_its_handshake() -> None:
    """The parser of HTTP and the headers would take 3 KB for each of thousands of links."""
    before = http_parsers()
    async with open_raw_orchestrator() as raw, connected(raw) as (link, socket):
        await socket.send_text("after the handshake")
        assert texts(await receive(link, 1)) == ["after the handshake"]
        assert http_parsers() <= before


async def test_frames_before_the_end_are_handed_over_first() -> None:
    async with open_raw_orchestrator() as raw, connected(raw) as (link, socket):
        async with trio.open_nursery() as nursery:
            await socket.send_bytes_raw(frame("one") + frame("two"))
            nursery.start_soon(socket.close, 1012)
            assert texts(await receive(link, 2)) == ["one", "two"]
        for _ in range(2):
            with pytest.raises(LinkLost) as lost:
                await link.receive_batch()
            assert lost.value.code == 1012


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Refuse(401), LinkRefused, "HTTP 401"),
        (Refuse(403, body=b'{"error": "no"}'), LinkRefused, "HTTP 403"),
        (Refuse(404), ProjectGone, "HTTP 404"),
        (Refuse(302, {"Location": "http://127.0.0.1:1/"}), LinkLost, "HTTP 302"),
        (Refuse(200, body=b"<html>"), LinkLost, "HTTP 200"),
        (Refuse(503), LinkLost, "HTTP 503"),
        (WrongAccept(), LinkLost, "WebSocket"),
        (Garbage(), LinkLost, "does not speak HTTP"),
        (Garbage(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), LinkLost, "WebSocket"),
        (Garbage(b"HTTP/1.1 101 Switching Protocols\r\n\x00: \x00\r\n\r\n"), LinkLost, "WebSocket"),
        (Garbage(b"HTTP/1.1 101 Switching Protocols\r\nA: " + b"x" * 70_000), LinkLost, "does not end"),
        (Garbage(b"HTTP/1.1 401 Unauthorized\r\n\r\nuntil the end"), LinkRefused, "HTTP 401"),
        (Garbage(b"HTTP/1.1 1"), LinkLost, "hung up"),
        (Garbage(b""), LinkLost, "hung up"),
        (Reset(), LinkLost, "handshake"),
    ],
)
async def test_handshakes_that_come_to_nothing(
    answer: UpgradeAnswer, kind: type[OrchestratorError], words: str
) -> None:
    async with open_raw_orchestrator() as raw:
        raw.default_upgrade = answer
        with pytest.raises(OrchestratorError, match=words) as error:
            async with open_link(target(raw), settings()):
                pytest.fail("connected")
        assert type(error.value) is kind
        assert CANARY not in repr(error.value)


async def test_nobody_listens() -> None:
    async with open_raw_orchestrator() as raw:
        await raw.go_away()  # and keeps its port, so that nobody else takes it
        with pytest.raises(LinkLost, match=f"cannot connect to 127.0.0.1:{raw.port}: Connection refused"):
            async with open_link(target(raw), settings()):
                pytest.fail("connected")


async def test_an_error_of_its_user_comes_through_as_it_is() -> None:
    async with open_raw_orchestrator() as raw:
        with pytest.raises(KeyError, match="mine"):
            async with connected(raw):
                raise KeyError("mine")


async def test_a_message_beyond_the_limit_ends_the_link() -> None:
    async with in_pieces() as (link, socket, nursery):
        nursery.start_soon(socket.send_text, "x" * (MAX_MESSAGE_SIZE + 1))
        assert "too big (1009" in str(await end_of(link))
        nursery.cancel_scope.cancel()


async def test_a_large_message_is_taken() -> None:
    text = "x" * 10_000_000
    async with in_pieces() as (link, socket, nursery):
        nursery.start_soon(socket.send_text, text)
        assert texts(await receive(link, 1)) == [text]


async def test_fragments_without_end_end_the_link() -> None:
    fragments = frame(b"x" * 60_000, opcode=0, final=False)
    async with in_pieces() as (link, socket, nursery):

        async def send() -> None:
            await socket.send_bytes_raw(frame("x", final=False))
            while True:
                try:
                    await socket.send_bytes_raw(fragments)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

        nursery.start_soon(send)
        error = await end_of(link)
        assert isinstance(error, LinkLost)
        assert error.code == 1009
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "wrong",
    [frame(b"\xff\xfe"), frame(b"\xff", final=False), frame(b"\x03\xe8\xff", opcode=0x8)],
    ids=["whole", "fragment", "reason"],
)
async def test_text_that_is_no_utf8_ends_the_link(wrong: bytes) -> None:
    async with open_raw_orchestrator() as raw:
        async with connected(raw) as (link, socket):
            await socket.send_bytes_raw(frame("good") + wrong)
            assert texts(await link.receive_batch()) == ["good"]
            error = await end_of(link)
            assert isinstance(error, LinkLost)
            assert error.code == 1007
        await socket.closed.wait()
        assert socket.close_code == 1007


@pytest.mark.parametrize(
    "wrong",
    [
        frame("x", opcode=0x3),
        frame("x", opcode=0xB),
        frame("x", opcode=0x0),
        frame("x", opcode=0x9, final=False),
        frame("x" * 126, opcode=0x9),
        b"\xc1\x01x",
        b"\x81\x81abcdx",
        b"\x81\x7f" + b"\xff" * 8,
        frame("x", final=False) + frame("y"),
        frame(b"\x03", opcode=0x8),
        frame(b"\x00\x01", opcode=0x8),
        bytes(range(256)),
    ],
    ids=lambda wrong: wrong[:4].hex(),
)
async def test_frames_that_break_the_protocol_end_the_link(wrong: bytes) -> None:
    async with open_raw_orchestrator() as raw:
        async with connected(raw) as (link, socket):
            await socket.send_bytes_raw(frame("good") + wrong)
            assert texts(await link.receive_batch()) == ["good"]
            error = await end_of(link)
            assert isinstance(error, LinkLost)
            assert error.code == 1002
        await socket.closed.wait()
        assert socket.close_code == 1002


async def test_a_reader_that_pauses_holds_the_sender_back() -> None:
    """Nothing is read beyond the limit, so the sender blocks; nothing is lost when reading goes on."""
    count, text = 40_000, "x" * 1000
    async with in_pieces() as (link, socket, nursery):
        sent = trio.Event()

        async def send() -> None:
            await socket.send_bytes_raw(frame(text) * count)
            sent.set()

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert not sent.is_set()
        batch = await link.receive_batch()
        assert len(batch) <= MAX_BATCH_FRAMES + PORTION_FRAMES
        assert len(await receive(link, count - len(batch))) == count - len(batch)
        await sent.wait()


@pytest.mark.parametrize("sent", [1, 7, 2 * MAX_BATCH_FRAMES + 1])
async def test_frames_are_handed_over_in_batches_of_a_limited_size(sent: int) -> None:
    """In order, without a loss, and the end only after all of them."""
    async with (
        open_raw_orchestrator() as raw,
        open_link(target(raw), settings()) as link,
        trio.open_nursery() as nursery,
    ):
        socket = await raw.connections.receive()

        async def send() -> None:
            await socket.send_bytes_raw(b"".join(frame(str(n)) for n in range(sent)))
            await socket.close(1012)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.05)
        batches: list[list[Frame]] = []
        end = await end_of(link, batches)
        assert isinstance(end, LinkLost)
        assert end.code == 1012
        assert [int(frame) for batch in batches for frame in batch] == list(range(sent))
        assert max(map(len, batches)) <= MAX_BATCH_FRAMES + PORTION_FRAMES


async def test_buffered_frames_can_be_taken_without_waiting() -> None:
    async with open_raw_orchestrator() as raw, open_link(target(raw), settings()) as link:
        socket = await raw.connections.receive()
        await socket.send_bytes_raw(b"".join(frame(str(n)) for n in range(5)))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert texts(link.take_buffered()) == ["0", "1", "2", "3", "4"]
        assert texts(link.take_buffered()) == []


async def test_a_ping_of_the_server_is_answered() -> None:
    async with open_raw_orchestrator() as raw, connected(raw) as (_, socket):
        await socket.send_text('{"type": "ping", "timestamp": "2026-01-01T00:00:00Z"}')
        assert json.loads(await socket.receive())["type"] == "pong"


@needs_proc
@pytest.mark.parametrize(
    "answer",
    [Refuse(401), Garbage(), WrongAccept(), Reset(), Silence(), None],
    ids=lambda answer: type(answer).__name__,
)
async def test_no_descriptor_is_left_behind(answer: UpgradeAnswer | None) -> None:
    async with open_raw_orchestrator() as raw:
        before = open_files()
        for _ in range(5):
            if answer is not None:
                raw.upgrade_answers.append(answer)
            with pytest.raises(LinkRefused if answer == Refuse(401) else LinkLost):
                await connect_and_be_reset(raw, connect_timeout=0.05 if answer == Silence() else 60)
        await until_open_files(before)


@needs_proc
async def test_a_cancelled_handshake_leaves_no_descriptor_behind() -> None:
    async with open_raw_orchestrator() as raw:
        raw.default_upgrade = Silence()
        before = open_files()
        for _ in range(5):
            with trio.move_on_after(0.02):
                async with open_link(target(raw), settings()):
                    pytest.fail("connected")
        await until_open_files(before)


async def test_handshakes_are_bounded(mock_clock: trio.testing.MockClock) -> None:
    """The second link waits for its turn; the wait does not count towards the connect timeout."""
    one_by_one = settings(connect_timeout=10.0, handshakes=trio.CapacityLimiter(1))
    async with open_raw_orchestrator() as raw:
        raw.default_upgrade = Silence()
        failures: list[str] = []

        async def fail() -> None:
            with pytest.raises(LinkLost) as lost:
                async with open_link(target(raw), one_by_one):
                    pytest.fail("connected")
            failures.append(str(lost.value))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(fail)
            for number in range(1, 4):
                while len(raw.upgrades) < number:
                    await trio.testing.wait_all_tasks_blocked(0.01)
                assert (len(raw.upgrades), len(failures)) == (number, number - 1)
                mock_clock.jump(10.0)
        assert failures == ["the orchestrator did not answer the handshake within 10 s"] * 3


async def test_large_messages_of_several_links_are_read_one_at_a_time() -> None:
    room, text = FrameMemory(), "x" * 2**20
    room.large = MemoryBudget(COPIES * 2**20)
    async with (
        open_raw_orchestrator() as raw,
        open_link(target(raw), settings(memory=room)) as first,
        open_link(target(raw), settings(memory=room)) as second,
        trio.open_nursery() as nursery,
    ):
        sockets = [await raw.connections.receive() for _ in range(2)]
        nursery.start_soon(sockets[0].send_text, text)
        assert texts(await first.receive_batch()) == [text]
        nursery.start_soon(sockets[1].send_text, text)
        with trio.move_on_after(0.1) as too_early:
            await second.receive_batch()
        assert too_early.cancelled_caught
        nursery.start_soon(sockets[0].send_text, "next")
        assert texts(await first.receive_batch()) == ["next"]
        assert texts(await second.receive_batch()) == [text]
        assert room.large.used == COPIES * 2**20
    assert (room.large.used, room.buffered) == (0, 0)


async def test_a_large_message_in_pieces_asks_for_room_too() -> None:
    room, text = FrameMemory(), b"x" * 2**19
    async with open_raw_orchestrator() as raw, open_link(target(raw), settings(memory=room)) as link:
        socket = await raw.connections.receive()
        await socket.send_bytes_raw(frame(text, final=False) + frame(text, opcode=0, final=False))
        await socket.send_bytes_raw(frame(b"", opcode=0))
        assert texts(await link.receive_batch()) == ["x" * 2**20]
        assert room.large.used == room.large.total
    assert room.large.used == 0


async def test_a_large_message_that_does_not_end_ends_the_link() -> None:
    hasty = settings(message_timeout_s=0.05)
    async with open_raw_orchestrator() as raw, open_link(target(raw), hasty) as link:
        socket = await raw.connections.receive()
        await socket.send_bytes_raw(frame("x" * 2**20)[:-1])
        with pytest.raises(LinkLost, match="did not end within"):
            await link.receive_batch()


@pytest.mark.parametrize("answer", UPGRADES.values(), ids=UPGRADES)
async def test_every_wrong_answer_to_the_upgrade_is_one_of_our_errors(answer: WireAnswer) -> None:
    async with open_raw_orchestrator() as raw:
        raw.default_upgrade = answer
        with pytest.raises((LinkLost, LinkRefused, ProjectGone)) as caught:
            async with open_link(target(raw), settings()):
                pytest.fail("connected")
    assert CANARY not in str(caught.value)
    assert str(caught.value).isprintable()


async def test_a_message_that_there_is_no_memory_for_ends_its_link_with_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("aintandem_notify.orchestrator.link.text_frames.TextFrameReader._cut", fail)

    async def watch(raw: RawOrchestrator) -> None:
        async with open_link(target(raw), settings()) as link:
            await (await raw.connections.receive()).send_text("{}")
            await link.receive_batch()

    async with open_raw_orchestrator() as raw:
        with pytest.raises(LinkLost, match="no memory for a message"):
            await watch(raw)
