"""Bounds the memory for the frames of all links, from their first byte until their events are stored.

Small frames do not wait: if much is buffered, each link hands its frames over before it reads on. A large message
waits until there is room for all of it.
"""

from typing import Final

from aintandem_notify.foundation.memory_budget import MemoryBudget, MemoryShare

SMALL_MESSAGE_BYTES: Final = 2**18
"""Bytes of a message that a link may read without reserving memory; nearly all messages have less."""
LARGE_MESSAGES_BYTES: Final = 48 * 2**20
"""Bytes for the large messages of all links: room for one of the largest size, in ``COPIES``."""
COPIES: Final = 3
"""Copies of a message that are in memory while it is read."""
MAX_BUFFERED_CHARS: Final = 16 * 2**20
"""Characters of small frames that all links read ahead of the store; as events they take ten times the memory."""
MIN_LINK_CHARS: Final = 16 * 2**10
"""Characters that each link may read ahead even beyond that, so that one transaction takes several frames."""
FRAME_OVERHEAD_BYTES: Final = 64
"""Bytes of a frame beside its characters."""
MESSAGE_TIMEOUT_S: Final = 120.0
"""Seconds that a large message may take to arrive, once there is room; 16 MiB need 1.2 Mbit/s for it."""


class FrameMemory:
    """The memory that all links of one program share. Of small frames it has ``max_buffered`` characters.

    Beyond that each link may read ``min_per_link`` ahead.
    """

    def __init__(self, max_buffered: int = MAX_BUFFERED_CHARS, min_per_link: int = MIN_LINK_CHARS) -> None:
        self.min_per_link = min_per_link
        self._max_buffered = max_buffered
        self.large: MemoryBudget = MemoryBudget(LARGE_MESSAGES_BYTES)
        self.buffered = 0

    @property
    def is_crowded(self) -> bool:
        """True if links should hand their frames over before they read on."""
        return self.buffered >= self._max_buffered


class LinkMemory:
    """One link's part of the memory. ``is_waiting`` is true while it waits for room for a large message."""

    def __init__(self, memory: FrameMemory) -> None:
        self.is_waiting: bool = False
        self._closed = False
        self._memory = memory
        self._arriving: MemoryShare | None = None
        self._buffered: list[MemoryShare] = []
        self._handed_over: list[MemoryShare] = []
        self._cost = self._cost_handed_over = 0

    async def reserve(self, size: int) -> None:
        """Wait until there is room for a large message of ``size`` bytes that has begun to arrive."""
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

    def add_frames(self, count: int, characters: int) -> bool:
        """Count frames that have arrived. Returns whether more may be read before the frames are handed over.

        The memory for a large message is reserved; if it is among several frames, the others are counted with it.
        """
        if self._arriving is not None:
            self._buffered.append(self._arriving)
            self._arriving = None
        else:
            cost = characters + FRAME_OVERHEAD_BYTES * count
            self._cost += cost
            self._memory.buffered += cost
        return not self._memory.is_crowded or self._cost < self._memory.min_per_link

    def hand_over(self) -> None:
        """Record that the buffered frames are handed over. The memory of those before is free again."""
        self._release(self._handed_over, self._cost_handed_over)
        self._handed_over, self._buffered = self._buffered, []
        self._cost_handed_over, self._cost = self._cost, 0

    def close(self) -> None:
        """Release all memory of the link; it reads no more."""
        self._closed = True
        arriving = [] if self._arriving is None else [self._arriving]
        self._release([*self._handed_over, *self._buffered, *arriving], self._cost_handed_over + self._cost)
        self._handed_over, self._buffered, self._arriving = [], [], None
        self._cost = self._cost_handed_over = 0

    def _release(self, shares: list[MemoryShare], cost: int) -> None:
        for share in shares:
            share.release()
        self._memory.buffered -= cost
