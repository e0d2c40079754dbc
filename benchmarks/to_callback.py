"""Rounds to a callback: the agent's receive path, this library, and the official SDK on Node.js."""

import sys
from collections.abc import Mapping
from typing import Final

from benchmarks.frames import MARK, PROJECT
from benchmarks.official_sdk import FOLDER, SdkMissing, install_sdk, node
from benchmarks.processes import open_reader, open_sender
from benchmarks.rounds import WARM_UP, Round, send

SDK: Final = "to a callback: the official SDK"
RECEIVE_PATH: Final = "to a callback: the agent's receive path"
LIBRARY: Final = "to a callback: this library"
OURS: Final[Mapping[str, str]] = {RECEIVE_PATH: "receive-path", LIBRARY: "library"}
"""Our readers, with their names in ``benchmarks.readers``."""


def sdk_missing() -> str:
    """The reason for which the official SDK cannot be measured; empty if it can."""
    try:
        node()
        install_sdk()
    except SdkMissing as reason:
        return str(reason)
    return ""


def command(reader: str, port: int) -> list[str]:
    """The command of the process that reads from the sender at ``port``."""
    if reader == SDK:
        return [node(), str(FOLDER / "reader.mjs"), f"http://127.0.0.1:{port}", PROJECT, MARK]
    return [sys.executable, "-m", "benchmarks.readers", OURS[reader], str(port)]


async def called(reader: str, events: int) -> Round:
    """A round to the callback of ``reader``."""
    async with open_sender() as sender, open_reader(*command(reader, sender.port)) as process:
        await sender.command("wait", sockets=1)
        # The SDK registers its listeners some moments after it opens its socket.
        await send(sender, WARM_UP, "warm-up")
        await process.read()
        began = await send(sender, events, "measured")
        end = await process.read()
        if end["events"] != events:
            raise SystemExit(f"{reader}: {end['events']} events arrived, {events} were sent")
        return Round(events, end["ended"] - began, end["cpu_s"])


async def lost(reader: str, events: int) -> int:
    """The number of events that never reach the callback, if all are sent with the handshake response."""
    async with open_sender() as sender:
        await sender.command("prepare", events=events, salt="greeting")
        await sender.command("greet")
        async with open_reader(*command(reader, sender.port)) as process:
            return events - int((await process.read())["events"])
