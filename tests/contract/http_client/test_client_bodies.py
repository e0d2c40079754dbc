"""Limits of the body of an answer, in bytes and in memory."""

import gc

import pytest
import trio
import trio.lowlevel
import trio.testing

from aintandem_notify.foundation.open_files import MAX_HTTP_CONNECTIONS
from aintandem_notify.http_client import MAX_BODY, HttpClient, transport
from support.http_server import Endless, LoopbackServer, Reply, gzip_bomb
from support.nasty.wire import Then, WireAnswer, zipped


@pytest.mark.parametrize("size", [0, 1, 99, 100])
async def test_a_body_within_the_limit_is_complete(server: LoopbackServer, http: HttpClient, size: int) -> None:
    server.replies.append(Reply(200, b"x" * size))
    answer = await http.get(server.base, max_body=100)
    assert (len(answer.body), answer.truncated) == (size, False)


@pytest.mark.parametrize("size", [101, 5000, 200_000])
async def test_a_longer_body_is_cut(server: LoopbackServer, http: HttpClient, size: int) -> None:
    server.replies.append(Reply(200, b"x" * size))
    answer = await http.get(server.base, max_body=100)
    assert (answer.body, answer.truncated) == (b"x" * 100, True)
    assert (await http.get(server.base)).status == 200


@pytest.mark.parametrize("size", [101, 200_000])
async def test_cut_bodies_use_no_connection_up(server: LoopbackServer, http: HttpClient, size: int) -> None:
    for _ in range(MAX_HTTP_CONNECTIONS + 1):
        server.replies.append(Reply(200, b"x" * size))
        await http.get(server.base, max_body=100)
    await server.wait_until(lambda: server.connections <= 1)


async def test_a_gigabyte_is_not_read(server: LoopbackServer, http: HttpClient) -> None:
    server.replies.append(Endless())
    answer = await http.get(server.base)
    assert (len(answer.body), answer.truncated) == (MAX_BODY, True)
    await server.wait_until(lambda: server.connections == 0)
    assert server.bytes_sent < 50_000_000


async def test_a_gzip_bomb_is_unpacked_to_the_limit(server: LoopbackServer, http: HttpClient) -> None:
    server.replies.append(gzip_bomb())
    answer = await http.get(server.base)
    assert (len(answer.body), answer.truncated) == (MAX_BODY, True)
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("split", [1, 2, 1000])
@pytest.mark.parametrize(
    "text",
    [
        b"ok",
        b"1",
        b"channel_is_archived",
        b'{"id":12}',
        b'{"ok":false,"error":"channel_not_found"}',
        b"<html><title>Log in</title></html>",
        "Übergabe an das Gerät".encode(),
    ],
)
async def test_text_that_is_only_called_deflated_stays_as_it_came(
    server: LoopbackServer, http: HttpClient, text: bytes, split: int
) -> None:
    """In small pieces, too; deflated data have no sum, and many a text begins as they could."""
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\ncontent-length: %d\r\n\r\n" % len(text)
    pieces = (text[at : at + split] for at in range(0, len(text), split))
    server.replies.append(WireAnswer((head, *pieces), Then.KEEP))
    answer = await http.get(server.base)
    assert (answer.body, answer.truncated) == (text, False)


async def test_compressed_data_that_unpack_to_nothing_end_some_time(
    server: LoopbackServer, http: HttpClient
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\n\r\n"
    empty_blocks = b"\0\0\0\xff\xff" * 1000
    server.replies.append(WireAnswer((head, empty_blocks), Then.GO_ON))
    answer = await http.get(server.base, timeout=60)
    assert (answer.body, answer.truncated) == (b"", True)
    await server.wait_until(lambda: server.connections == 0)


@pytest.mark.parametrize("size", [100, 101, 5000])
async def test_the_limit_counts_unpacked_bytes(server: LoopbackServer, http: HttpClient, size: int) -> None:
    server.replies.append(zipped(b"x" * size))
    answer = await http.get(server.base, max_body=100)
    assert (answer.body, answer.truncated) == (b"x" * 100, size > 100)


async def test_a_body_is_not_left_to_the_garbage_collector(http: HttpClient, server: LoopbackServer) -> None:
    server.replies += [Reply(200, b"x" * 1_000_000), Reply(200, b"x" * 1_000_000)]
    gc.disable()
    try:
        assert len((await http.get(server.base, max_body=2_000_000)).body) == 1_000_000
        assert (await http.get(server.base, max_body=500_000)).truncated
        assert not [item for item in gc.get_objects() if isinstance(item, transport.Exchange) and item.body]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("size", "reserved"), [(transport.SMALL_BODY_BYTES, []), (transport.SMALL_BODY_BYTES + 1, [2**18 + 1])]
)
async def test_room_is_called_once_and_only_for_a_large_body(
    size: int, reserved: list[int], http: HttpClient, server: LoopbackServer
) -> None:
    sizes: list[int] = []

    async def room(byte_count: int) -> None:
        sizes.append(byte_count)
        await trio.lowlevel.checkpoint()

    server.replies.append(Reply(200, b"x" * size))
    assert len((await http.get(server.base, max_body=2**20, room=room)).body) == size
    assert sizes == reserved


async def test_room_is_called_for_all_that_a_compressed_body_may_have(
    http: HttpClient, server: LoopbackServer
) -> None:
    sizes: list[int] = []

    async def room(byte_count: int) -> None:
        sizes.append(byte_count)
        await trio.lowlevel.checkpoint()

    server.replies.append(zipped(b"x" * (transport.SMALL_BODY_BYTES + 1)))
    answer = await http.get(server.base, max_body=2**20, room=room)
    assert len(answer.body) == transport.SMALL_BODY_BYTES + 1
    assert sizes == [2**20]


async def test_the_time_of_a_request_stands_still_while_it_waits_for_room(
    http: HttpClient, server: LoopbackServer
) -> None:
    async def room(_: int) -> None:
        assert trio.current_effective_deadline() > trio.current_time() + 3600

    server.replies.append(Reply(200, b"x" * 2**20))
    with trio.CancelScope():
        assert len((await http.get(server.base, max_body=2**20, timeout=60, room=room)).body) == 2**20


@pytest.mark.parametrize("waits", [True, False])
async def test_a_cancelled_request_leaves_nothing_to_the_garbage_collector(
    waits: bool, http: HttpClient, server: LoopbackServer
) -> None:
    async def room(_: int) -> None:
        scope.cancel()
        if waits:
            await trio.sleep_forever()

    server.replies.append(Reply(200, b"x" * 2**22))
    with trio.CancelScope() as scope:
        await http.get(server.base, max_body=2**23, room=room)
    assert scope.cancelled_caught
    # If a generator of the libraries were left to the garbage collector, trio would warn here.
    gc.collect()
    await trio.testing.wait_all_tasks_blocked()
