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
    """What one link has of it. ``waits`` while it does not read because there is no room for a large message."""

    def __init__(self, room: FrameMemory) -> None:
        self.waits = False
        self._closed = False
        self._room = room
        self._arriving: MemoryShare | None = None
        self._buffered: list[MemoryShare] = []
        self._in_hand: list[MemoryShare] = []
        self._cost = self._cost_in_hand = 0

    async def ask(self, size: int) -> None:
        """Wait until there is room for a large message of ``size`` bytes, which has begun to arrive."""
        self.waits = True
        try:
            share = MemoryShare(self._room.large)
            await share.grow(COPIES * size)
            if self._closed:
                share.give_back()
            else:
                self._arriving = share
        finally:
            self.waits = False

    def take(self, characters: int) -> bool:
        """A frame is there; whether more may be read before somebody takes it."""
        if self._arriving is not None:
            self._buffered.append(self._arriving)
            self._arriving = None
        else:
            self._cost += characters + FRAME_OVERHEAD_BYTES
            self._room.buffered += characters + FRAME_OVERHEAD_BYTES
        return not self._room.is_crowded or self._cost < MIN_LINK_CHARS

    def hand_over(self) -> None:
        """Frames are about to be handed over, and the events of those before are safe, or wait elsewhere."""
        self._give_back(self._in_hand, self._cost_in_hand)
        self._in_hand, self._buffered = self._buffered, []
        self._cost_in_hand, self._cost = self._cost, 0

    def close(self) -> None:
        """Nothing is read any more."""
        self._closed = True
        arriving = [] if self._arriving is None else [self._arriving]
        self._give_back([*self._in_hand, *self._buffered, *arriving], self._cost_in_hand + self._cost)
        self._in_hand, self._buffered, self._arriving = [], [], None
        self._cost = self._cost_in_hand = 0

    def _give_back(self, shares: list[MemoryShare], cost: int) -> None:
        for share in shares:
            share.give_back()
        self._room.buffered -= cost
