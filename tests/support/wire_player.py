"""Writes responses of ``support.nasty`` to a connection, for servers on bare sockets."""

import trio

from aintandem_notify.simulator.wire.fault_proxy import reset_on_close
from support.nasty.wire import Then, WireAnswer


async def play(answer: WireAnswer, stream: trio.SocketStream) -> bool:
    """Write ``answer``. Returns whether the connection can be used again; otherwise the caller closes it."""
    for piece in answer.pieces:
        await stream.send_all(piece)
        # Pieces written together go out in one segment; on loopback a checkpoint separates them.
        await trio.lowlevel.checkpoint()
    match answer.then:
        case Then.KEEP:
            return True
        case Then.CLOSE:
            pass
        case Then.RESET:
            reset_on_close(stream)
        case Then.SILENCE:
            while await stream.receive_some(65536):
                pass
        case Then.GO_ON:
            while True:
                await stream.send_all(answer.pieces[-1])
    return False
