"""Starts and ends the processes of a benchmark, and exchanges lines of JSON with them."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from benchmarks.frames import mark_name

TIMEOUT_S: Final = 900.0
"""Seconds for one figure; a process that takes longer hangs."""
POLL_S: Final = 0.005
"""Seconds between two readings of a file, and the precision of a round's end."""
TAIL_BYTES: Final = 16384
AGENT: Final = Path(sys.executable).with_name("aintandem-notify")


class JsonLineProcess:
    """A process that writes lines of JSON to stdout."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = b""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def read(self) -> dict[str, Any]:
        """The next line. Ends the program if the process ends or reports an error."""
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            arrived = await self._process.stdout.receive_some(65536)
            if not arrived:
                raise SystemExit(f"{self._process.args!r} ended early")
            self._buffer += arrived
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SystemExit(answer["error"])
        return answer

    async def command(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its response."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"do": do, **arguments}).encode() + b"\n")
        return await self.read()


class Sender(JsonLineProcess):
    """The sending orchestrator; ``benchmarks.sender`` lists its commands."""

    port: int


@asynccontextmanager
async def open_sender() -> AsyncIterator[Sender]:
    """A new sender, ready for connections."""
    async with _open(
        sys.executable, "-m", "benchmarks.sender", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        sender = Sender(process)
        sender.port = (await sender.read())["port"]
        yield sender


@asynccontextmanager
async def open_baseline(port: int, *rounds: int) -> AsyncIterator[JsonLineProcess]:
    """The bare read loop, connected to the sender at ``port``."""
    command = [sys.executable, "-m", "benchmarks.baseline", str(port), *map(str, rounds)]
    async with _open(*command, stdout=subprocess.PIPE) as process:
        yield JsonLineProcess(process)


@asynccontextmanager
async def open_reader(*command: str) -> AsyncIterator[JsonLineProcess]:
    """A process that reads from a sender and writes a line at each mark."""
    async with _open(*command, stdout=subprocess.PIPE) as process:
        yield JsonLineProcess(process)


@asynccontextmanager
async def open_program(*command: str, **options: Any) -> AsyncIterator[int]:
    """A program of others; ``options`` are those of ``subprocess.Popen``. Yields its process id."""
    async with _open(*command, **options) as process:
        yield process.pid


@asynccontextmanager
async def open_agent(folder: Path, config: str) -> AsyncIterator[int]:
    """The agent, started as a user starts it. Yields its process id; its log is ``folder/agent.log``."""
    source = folder / "config.toml"
    source.write_text(config, encoding="utf-8")
    with (folder / "agent.log").open("wb") as log:
        async with _open(
            str(AGENT), "run", str(source), stdout=log, stderr=log, env=environment(folder)
        ) as process:
            yield process.pid


def environment(folder: Path) -> Mapping[str, str]:
    """Environment variables of a user whose home is ``folder``."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")}


@asynccontextmanager
async def _open(*command: str, **options: Any) -> AsyncIterator[trio.Process]:
    with trio.fail_after(TIMEOUT_S):
        process = await trio.lowlevel.open_process(command, **options)
        try:
            yield process
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()


async def wait_for_mark(path: Path, salt: str) -> None:
    """Wait until the file ends with the notification of the mark of ``salt``."""
    searched = mark_name(salt).encode()
    while searched not in _tail(path):  # noqa: ASYNC110  # another process writes it
        await trio.sleep(POLL_S)


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""
