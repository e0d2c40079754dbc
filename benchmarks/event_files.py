"""Counts the files of the framework whose functions run for one event, from its frame to the settled delivery.

    python -m benchmarks.event_files

An agent in this process watches a simulated orchestrator and delivers to a webhook on loopback. A profile function
notes every function that is called in any thread. Files that do not run for each of the events do other work.
"""

import dis
import json
import random
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

import trio

EVENTS: Final = 12
"""Events that are sent one after the other."""
SETTLE_S: Final = 0.6
"""Seconds after an answer in which the delivery is recorded."""
ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
CONFIG: Final = """
[orchestrator]
url = "{url}"
username = "{username}"
password = "{password}"
[[projects]]
id = "p"
[plugins.webhook.here]
url = "http://127.0.0.1:{port}"
[[rules]]
name = "all"
events = ["task_failed"]
notify = ["webhook.here"]
[health]
after = "1h"
[store]
url = "sqlite:///{folder}/store.sqlite3"
"""


@cache
def _start_of(code: CodeType) -> int:
    return next(step.offset for step in dis.get_instructions(code) if step.opname == "RESUME")


class Recorder:
    """The files of the functions that were called while it was recording."""

    def __init__(self) -> None:
        self.files: set[str] | None = None

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """The profile function, for ``sys.setprofile``. A coroutine that goes on is no call."""
        if event == "call" and (files := self.files) is not None and frame.f_lasti <= _start_of(frame.f_code):
            files.add(frame.f_code.co_filename)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watches this thread, and threads that start in the block."""
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


async def _answer(received: trio.MemorySendChannel[None], stream: trio.SocketStream) -> None:
    content = b""
    async for chunk in stream:
        content += chunk
        head, found, body = content.partition(b"\r\n\r\n")
        length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), b":0")
        if found and len(body) >= int(length.partition(b":")[2]):
            content = b""
            await stream.send_all(ANSWER)
            await received.send(None)


async def measure(folder: Path, recorder: Recorder) -> list[set[str]]:
    """The files that ran for each event."""
    from aintandem_notify.agent.composition import open_agent
    from aintandem_notify.foundation.clock import SystemClock
    from aintandem_notify.plugins.config_loading import load
    from aintandem_notify.simulator import open_simulator

    send, receive = trio.open_memory_channel[None](9)
    runs: list[set[str]] = []
    async with trio.open_nursery() as nursery, open_simulator(projects=["p"]) as simulator:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, partial(_answer, send), [listener])
        path = folder / "config.toml"
        port = listener.socket.getsockname()[1]
        login = {"username": simulator.username, "password": simulator.password}
        path.write_text(CONFIG.format(url=simulator.url, port=port, folder=folder, **login))
        async with open_agent(load(path), clock=SystemClock(), chance=random.random):
            await simulator.wait_subscribed("p")
            await trio.sleep(2)
            for number in range(EVENTS):
                recorder.files = files = set[str]()
                at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
                event = {
                    "type": "task_failed",
                    "taskId": f"t{number}",
                    "timestamp": at,
                    "error": "the disk is full",
                }
                simulator.publish("p", json.dumps(event))
                await receive.receive()
                await trio.sleep(SETTLE_S)
                recorder.files = None
                runs.append(files)
        nursery.cancel_scope.cancel()
    return runs


def main() -> None:
    """Print the files and their number."""
    recorder = Recorder()
    with tempfile.TemporaryDirectory() as folder, recorder.installed():
        runs = trio.run(measure, Path(folder), recorder)
    names = sorted(
        name[name.rindex("aintandem_notify") :]
        for name in set.intersection(*runs[1:])
        if "/aintandem_notify" in name and "/simulator/" not in name and "/http_server/" not in name
    )
    print(*names, f"{len(names)} files", sep="\n")


if __name__ == "__main__":
    main()
