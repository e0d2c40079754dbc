"""The baseline for an agent on trio-websocket: a bare read loop that discards every message.

``python -m benchmarks.baseline PORT EVENTS EVENTS …`` reads that many events and a mark for each number. After
each it prints a line of JSON with the end time and the processor time.
"""

import json
import sys
import time
from collections.abc import Sequence

import trio
from trio_websocket import open_websocket_url

from aintandem_notify.orchestrator.link.websocket import MAX_MESSAGE_SIZE, MESSAGE_QUEUE_SIZE, RECEIVE_BUFFER_SIZE
from benchmarks.frames import PROJECT
from benchmarks.machine import now


async def read(port: int, rounds: Sequence[int]) -> None:
    """Read all rounds from the sender at ``port``, and print a line after each."""
    async with open_websocket_url(
        f"ws://127.0.0.1:{port}/api/progress/subscribe/{PROJECT}",
        message_queue_size=MESSAGE_QUEUE_SIZE,
        max_message_size=MAX_MESSAGE_SIZE,
        receive_buffer_size=RECEIVE_BUFFER_SIZE,
    ) as websocket:
        receive = websocket.get_message
        for events in rounds:
            before = time.process_time()
            for _ in range(events + 1):
                await receive()
            print(json.dumps({"ended": now(), "cpu_s": time.process_time() - before}), flush=True)


if __name__ == "__main__":
    trio.run(read, int(sys.argv[1]), [int(events) for events in sys.argv[2:]])
