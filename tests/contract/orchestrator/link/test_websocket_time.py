"""Deadlines, pings and silence of a link, in memory and in virtual time."""

import json

import pytest
import trio
import trio.testing

from aintandem_notify.errors import LinkLost
from aintandem_notify.orchestrator.link.handshake import HandshakeStream
from aintandem_notify.orchestrator.link.websocket import MAX_BATCH_FRAMES, LinkSettings, open_link
from aintandem_notify.orchestrator.protocol.address import Endpoint, socket_target
from support.links import end_of, in_memory, texts
from support.trio_clock import TrioClock

CANARY = "canary-4f1d"

PROTOCOL_PING = b"\x89"
"""The first byte of such a frame."""


async def test_a_handshake_that_is_never_answered_has_a_deadline(autojump_clock: trio.testing.MockClock) -> None:
    ours, _ = trio.testing.memory_stream_pair()

    async def dial(_: Endpoint) -> trio.abc.Stream:
        return ours

    silent = LinkSettings(open_stream=dial, clock=TrioClock(), connect_timeout=10.0)
    with pytest.raises(LinkLost, match="the orchestrator did not answer the handshake within 10 s"):
        async with open_link(socket_target("http://memory", "p", CANARY), silent):
            pytest.fail("connected")
    assert trio.current_time() == 10.0


async def test_dialling_has_the_same_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async def dial(_: Endpoint) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError("never")

    stuck = LinkSettings(open_stream=dial, clock=TrioClock(), connect_timeout=10.0)
    with pytest.raises(LinkLost, match="no connection within 10 s"):
        async with open_link(socket_target("http://memory", "p", CANARY), stuck):
            pytest.fail("connected")
    assert trio.current_time() == 10.0


@pytest.mark.parametrize("library_output", [b"", b"\x88\x82mask\x6e\x8b"])
async def test_a_close_frame_is_sent_once(library_output: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = HandshakeStream(ours, limit=1)
    if library_output:
        await stream.send_all(library_output)
    await stream.send_close(1002)
    sent = await theirs.receive_some()
    assert sent.startswith(library_output or b"\x88\x82")
    assert len(sent) == 8


async def test_an_idle_link_is_kept_alive_for_a_day(autojump_clock: trio.testing.MockClock) -> None:
    """The JSON pongs say only that the link lives, so nobody else gets them."""
    async with in_memory() as (link, server, _), trio.open_nursery() as nursery:
        pings: list[str] = []

        async def answer() -> None:
            while True:
                pings.append(json.loads(await server.get_message())["type"])
                await server.send_message('{"type": "pong"}')

        nursery.start_soon(answer)
        with trio.move_on_after(86400) as day:
            await link.receive_batch()
        assert day.cancelled_caught
        assert pings == ["ping"] * 2880 or pings == ["ping"] * 2879
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("answers", "protocol_pings"), [(True, 1), (False, 10)])
async def test_a_server_that_answers_json_pings_gets_no_other_pings(
    answers: bool, protocol_pings: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Except with the first ping, when nobody knows that it will."""
    written: list[bytes] = []
    async with in_memory(written=written) as (link, server, _), trio.open_nursery() as nursery:

        async def read() -> None:
            while True:
                await server.get_message()
                if answers:
                    await server.send_message('{"type": "pong"}')

        nursery.start_soon(read)
        with trio.move_on_after(310) as scope:
            await link.receive_batch()
        assert scope.cancelled_caught
        assert [data[:1] for data in written].count(PROTOCOL_PING) == protocol_pings
        nursery.cancel_scope.cancel()


async def test_pongs_of_the_protocol_are_life_too(autojump_clock: trio.testing.MockClock) -> None:
    """A server that ignores the JSON ping is alive if its library answers the protocol's ping."""
    async with in_memory() as (link, server, _), trio.open_nursery() as nursery:

        async def ignore() -> None:
            while True:
                await server.get_message()

        nursery.start_soon(ignore)
        with trio.move_on_after(3600) as scope:
            await link.receive_batch()
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_silence_is_a_verdict_after_two_and_a_half_intervals(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory() as (link, _, outgoing):
        outgoing.send_all_hook = trio.lowlevel.checkpoint  # discards everything
        begun = trio.current_time()
        with pytest.raises(LinkLost, match="nothing was heard for 75 s"):
            await link.receive_batch()
        assert trio.current_time() - begun == 75.0


async def test_a_pause_of_ours_is_no_silence(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory() as (link, server, _):
        for n in range(MAX_BATCH_FRAMES + 1):
            await server.send_message(f'{{"n": {n}}}')
        await trio.sleep(3600)
        assert len(await link.receive_batch()) == MAX_BATCH_FRAMES
        assert texts(await link.receive_batch()) == [f'{{"n": {MAX_BATCH_FRAMES}}}']
        await server.send_message("still there")
        assert texts(await link.receive_batch()) == ["still there"]


async def test_after_a_pause_silence_counts_anew(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory() as (link, server, outgoing):
        for _ in range(MAX_BATCH_FRAMES):
            await server.send_message("x")
        await trio.sleep(3600)
        outgoing.send_all_hook = trio.lowlevel.checkpoint  # discards everything
        assert len(await link.receive_batch()) == MAX_BATCH_FRAMES
        begun = trio.current_time()
        with pytest.raises(LinkLost, match="nothing was heard"):
            await link.receive_batch()
        assert trio.current_time() - begun == 75.0


async def test_a_server_that_takes_nothing_is_dead(autojump_clock: trio.testing.MockClock) -> None:
    """It sends for ever, but does not read our pings."""
    async with in_memory() as (link, server, outgoing), trio.open_nursery() as nursery:

        async def talk() -> None:
            while True:
                await server.send_message("x")
                await trio.sleep(10)

        nursery.start_soon(talk)
        outgoing.send_all_hook = trio.sleep_forever
        assert "does not read our messages" in str(await end_of(link))
        assert trio.current_time() == 60.0
        nursery.cancel_scope.cancel()
