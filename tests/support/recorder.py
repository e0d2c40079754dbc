"""A callback that records."""

from collections.abc import Callable
from typing import Any

import trio
import trio.testing


class Recorder:
    """A callback that collects its arguments, and a way to wait for more."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._arrived = trio.Event()

    def __call__(self, value: Any) -> None:
        self.all.append(value)
        self._arrived.set()
        self._arrived = trio.Event()

    async def until(self, met: Callable[["Recorder"], bool]) -> None:
        while not met(self):
            await self._arrived.wait()

    async def count(self, count: int) -> None:
        await self.until(lambda received: len(received.all) >= count)

    @property
    def types(self) -> list[str]:
        return [value.type for value in self.all]
