"""Decides when to ping and when a silent connection counts as dead. Pure functions.

All times are seconds of trio's clock.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic_core import to_json

from aintandem_notify.domain.events import BinaryFrame
from aintandem_notify.foundation.untrusted_json import read_json

SILENCE_INTERVALS: Final = 2.5
"""Intervals of silence after which a connection counts as dead: two pings had no answer, the second for half an
interval."""
PING: Final = "ping"
PONG: Final = "pong"
_find_control_word: Final = re.compile(rb'g"(?<="p[io]ng")').search
"""Searches for the rare letter and looks back from it: twice as fast as a search for the whole word."""
MAX_CONTROL_LENGTH: Final = 256
"""Characters; a longer frame is no ping or pong, so it is not searched for one."""


class HeartbeatAction(StrEnum):
    """The next action of the heartbeat."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class HeartbeatState:
    """The input of the decision: the times of the last bytes that arrived and of our last ping.

    ``paused`` is true while our own reader does not read: then silence proves nothing.
    """

    interval: float
    last_received_at: float
    pinged_at: float
    paused: bool = False

    @property
    def dead_at(self) -> float:
        """The time from which a silent connection counts as dead."""
        return self.last_received_at + SILENCE_INTERVALS * self.interval

    @property
    def ping_at(self) -> float:
        """The time of the next ping."""
        return self.pinged_at + self.interval


def next_action(state: HeartbeatState, now: float) -> tuple[HeartbeatAction, float]:
    """The action now, and for ``WAIT`` the seconds until the next decision."""
    if not state.paused and now >= state.dead_at:
        return HeartbeatAction.DEAD, 0.0
    if now >= state.ping_at:
        return HeartbeatAction.PING, 0.0
    due = state.ping_at if state.paused else min(state.ping_at, state.dead_at)
    return HeartbeatAction.WAIT, due - now


def control_frame(kind: str, now: datetime) -> str:
    """A JSON ``ping`` or ``pong`` in the orchestrator's own format."""
    return to_json({"type": kind, "timestamp": now.isoformat()}).decode()


def may_hold_control(content: bytes) -> bool:
    """True if a frame in ``content`` may be a ping or pong. One search in all is quicker than one in each."""
    return _find_control_word(content) is not None


def control_type(frame: str | bytes) -> str | None:
    """``PING`` for the orchestrator's JSON ping, which needs a pong; ``PONG`` for its JSON pong; else None."""
    if len(frame) > MAX_CONTROL_LENGTH or isinstance(frame, BinaryFrame):
        return None
    content = frame.encode(errors="replace") if isinstance(frame, str) else frame
    if not may_hold_control(content):
        return None
    try:
        value: Any = read_json(frame if isinstance(frame, str) else frame.decode(), strict=False)
    except ValueError:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if kind in (PING, PONG) else None
