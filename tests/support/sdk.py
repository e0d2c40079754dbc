"""Runs the official SDK on Node.js for tests. ``tests/conformance/driver.mjs`` defines the protocol."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from benchmarks.official_sdk import FOLDER, node

FASTER: Final = 50.0
"""Factor by which the SDK's timers are shortened, so that no test waits for seconds."""
LONGEST_S: Final = 600.0

FunctionRef = tuple[str, int]
"""A function that the SDK returned, as the start of a path for ``Sdk.call``."""


class SdkError(Exception):
    """A call of the SDK was rejected. ``name``, ``code`` and ``status`` are those of its error."""

    def __init__(self, message: dict[str, Any]) -> None:
        super().__init__(message["message"])
        self.name: str = message["name"]
        self.code: str | None = message.get("code")
        self.status: int | None = message.get("statusCode")


class Sdk:
    """A client of the SDK in a process of its own.

    ``heard`` has the arguments of each named callback, ``timers`` the delays that the SDK requested in
    milliseconds, and ``reports`` its console output.
    """

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.heard: defaultdict[str, list[Any]] = defaultdict(list)
        self.timers: list[float] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._call_count = 0
        self._reports = bytearray()
        self._arrived = trio.Event()

    @property
    def reports(self) -> str:
        return self._reports.decode()

    async def call(self, *path: object, given: tuple[object, ...] = ()) -> Any:
        """Call the function at ``path`` of the client, as in ``call("tasks", "getTask", given=("p", "t"))``.

        Returns the result as JSON, or a ``FunctionRef``. Raises SdkError. Steps like ``"getProgress()"`` are
        called.
        """
        self._call_count += 1
        number = self._call_count
        steps = path if path[0] == "kept" else ("client", *path)
        assert self._process.stdin is not None
        line = json.dumps({"id": number, "call": steps, "with": given})
        await self._process.stdin.send_all(line.encode() + b"\n")
        await self.until(lambda: number in self._answers)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise SdkError(answer["error"])
        return ("kept", answer["kept"]) if "kept" in answer else answer["result"]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until ``holds()`` is true. Checked again after every message of the SDK."""
        while not holds():
            await self._arrived.wait()

    def types(self, callback: str) -> list[str]:
        """The types of the events that the callback got."""
        return [event["type"] for event in self.heard[callback]]

    async def listen(self) -> None:
        """Process the driver's messages until it ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen_to_reports)
            assert self._process.stdout is not None
            buffer = b""
            async for arrived in self._process.stdout:
                *lines, buffer = (buffer + arrived).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
                self._notify_waiters()

    async def _listen_to_reports(self) -> None:
        assert self._process.stderr is not None
        async for arrived in self._process.stderr:
            self._reports += arrived
            self._notify_waiters()

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"callback": name, "event": event}:
                self.heard[name].append(event)
            case {"timer": delay}:
                self.timers.append(delay)
            case {"id": number}:
                self._answers[number] = message

    def _notify_waiters(self) -> None:
        self._arrived.set()
        self._arrived = trio.Event()


def callback(name: str, **options: Any) -> dict[str, Any]:
    """An argument that becomes a function of the driver. Its arguments are added to ``Sdk.heard[name]``."""
    return {"$callback": name, **options}


@asynccontextmanager
async def open_sdk(base_url: str, *, faster: float = FASTER) -> AsyncIterator[Sdk]:
    """A client for ``base_url`` in a process of its own, which ends with the block."""
    with trio.fail_after(LONGEST_S):
        async with trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(
                [node(), "driver.mjs", base_url, str(faster)],
                cwd=FOLDER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            try:
                sdk = Sdk(process)
                nursery.start_soon(sdk.listen)
                yield sdk
                nursery.cancel_scope.cancel()
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
                    for pipe in (process.stdin, process.stdout, process.stderr):
                        assert pipe is not None
                        await pipe.aclose()


@asynccontextmanager
async def logged_in(base_url: str, *, faster: float = FASTER) -> AsyncIterator[Sdk]:
    """As ``open_sdk``, after the login."""
    async with open_sdk(base_url, faster=faster) as sdk:
        await sdk.call("auth", "login", given=({"username": "admin", "password": "admin123"},))
        yield sdk
