"""What passes through the tap, in memory."""

import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from aintandem_notify.orchestrator.tap import Tap
from aintandem_notify.orchestrator.whole_frames import WholeFrames

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


async def no_wait() -> None:
    raise AssertionError("there is room")


async def test_a_message_that_comes_before_anybody_takes_messages_keeps_its_place() -> None:
    here, server = memory_stream_pair()
    tap = Tap(here, limit=1000)
    taken: list[str] = []

    def take(text: str) -> bool:
        taken.append(text)
        return True

    passed: list[bytes] = []

    async def library() -> None:
        while arrived := await tap.receive_some():
            passed.append(bytes(arrived))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(library)
        await server.send_all(UPGRADED)
        await wait_all_tasks_blocked()
        await server.send_all(b"\x81\x05first")
        await wait_all_tasks_blocked()
        tap.opened(WholeFrames(take, limit=1000), no_wait)
        await server.send_all(b"\x81\x06second")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert passed == [UPGRADED]
    assert taken == ["first", "second"]
