"""The bytes that the WebSocket library gets from the stream."""

import trio
import trio.testing

from aintandem_notify.orchestrator.link.handshake import PORTION_BYTES, HandshakeStream
from aintandem_notify.orchestrator.link.text_frames import TextFrameReader


async def test_the_library_gets_small_portions_so_that_a_flood_of_empty_fragments_delays_no_task() -> None:
    server, client = trio.testing.memory_stream_pair()
    stream = HandshakeStream(client, limit=2**20)
    await server.send_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 101")
    stream.start_frames(TextFrameReader(lambda _: True, limit=2**20), trio.lowlevel.checkpoint)
    flood = b"\x01\x00" + b"\x00\x00" * 20_000
    await server.send_all(flood)
    got = bytearray()
    while len(got) < len(flood):
        portion = await stream.receive_some(65536)
        assert 0 < len(portion) <= PORTION_BYTES
        got += portion
    assert got == flood
