"""The memory that the frames of all links may take, from their first byte until their events are safe.

Nobody waits here for a small frame: where much is buffered, each link hands over what it has before it reads on. A
large message waits until there is room for all of it.
"""

from typing import Final

from aintandem_notify.foundation.memory_budget import MemoryBudget, MemoryShare

SMALL_MESSAGE_BYTES: Final = 2**18
"""Bytes of a message that a link may read without asking; nearly all messages have less."""
LARGE_MESSAGES_BYTES: Final = 48 * 2**20
"""Bytes for the large messages of all links: one of the largest, which is there three times while it is read."""
COPIES: Final = 3
MAX_BUFFERED_CHARS: Final = 16 * 2**20
"""Characters of small frames that all links read ahead of the store; as events they take ten times as much."""
MIN_LINK_CHARS: Final = 16 * 2**10
"""What each link may read ahead also then, so that a transaction gets more than one frame of each."""
FRAME_OVERHEAD_BYTES: Final = 64
"""Bytes of a frame beside its characters."""
MESSAGE_TIMEOUT_S: Final = 120.0
"""How long a large message may take to arrive, once there is room; 16 MiB come in that time at 1.2 Mbit/s."""


class FrameMemory:
    """What the links of one program share."""

    def __init__(self) -> None:
        self.large = MemoryBudget(LARGE_MESSAGES_BYTES)
        self.buffered = 0

    @property
    def is_crowded(self) -> bool:
        """Whether links should hand over what they have before they read on."""
        return self.buffered >= MAX_BUFFERED_CHARS


class LinkMemory:
    """One link's part of the memory. ``is_waiting`` is true while it waits for room for a large message."""

    def __init__(self, memory: FrameMemory) -> None:
        self.is_waiting = False
        self._closed = False
        self._memory = memory
        self._arriving: MemoryShare | None = None
        self._buffered: list[MemoryShare] = []
        self._handed_over: list[MemoryShare] = []
        self._cost = self._cost_handed_over = 0

    async def reserve(self, size: int) -> None:
        """Wait until there is room for a large message of ``size`` bytes, which has begun to arrive."""
        self.is_waiting = True
        try:
            share = MemoryShare(self._memory.large)
            await share.grow_to(COPIES * size)
            if self._closed:
                share.release()
            else:
                self._arriving = share
        finally:
            self.is_waiting = False

    def add_frame(self, characters: int) -> bool:
        """A frame is there; whether more may be read before somebody takes it."""
        if self._arriving is not None:
            self._buffered.append(self._arriving)
            self._arriving = None
        else:
            self._cost += characters + FRAME_OVERHEAD_BYTES
            self._memory.buffered += characters + FRAME_OVERHEAD_BYTES
        return not self._memory.is_crowded or self._cost < MIN_LINK_CHARS

    def hand_over(self) -> None:
        """Frames are about to be handed over, and the events of those before are safe, or wait elsewhere."""
        self._release(self._handed_over, self._cost_handed_over)
        self._handed_over, self._buffered = self._buffered, []
        self._cost_handed_over, self._cost = self._cost, 0

    def close(self) -> None:
        """Nothing is read any more."""
        self._closed = True
        arriving = [] if self._arriving is None else [self._arriving]
        self._release([*self._handed_over, *self._buffered, *arriving], self._cost_handed_over + self._cost)
        self._handed_over, self._buffered, self._arriving = [], [], None
        self._cost = self._cost_handed_over = 0

    def _release(self, shares: list[MemoryShare], cost: int) -> None:
        for share in shares:
            share.release()
        self._memory.buffered -= cost
