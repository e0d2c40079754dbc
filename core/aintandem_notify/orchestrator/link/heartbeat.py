"""Is the other side still there? The decisions of the heartbeat, as pure functions of what was heard and when.

All times are seconds of trio's clock.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic_core import to_json

from aintandem_notify.foundation.untrusted_json import read_json

SILENCE_INTERVALS: Final = 2.5
"""Silence of so many intervals is death: two pings went unanswered, and the second had half an interval."""
MAX_PING_LENGTH: Final = 256
"""Characters; a frame that is longer is no ping, so that it need not be searched for one."""


class HeartbeatAction(StrEnum):
    """What the heartbeat does next."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class HeartbeatState:
    """What the heartbeat knows: ``last_received_at`` when anything arrived last, ``pinged_at`` when we asked last.

    ``paused`` while our own reader holds back on purpose: what is not read cannot be heard, so there is no
    verdict then.
    """

    interval: float
    last_received_at: float
    pinged_at: float
    paused: bool = False

    @property
    def dead_at(self) -> float:
        """When silence becomes a verdict."""
        return self.last_received_at + SILENCE_INTERVALS * self.interval

    @property
    def ping_at(self) -> float:
        """When the next ping is due."""
        return self.pinged_at + self.interval


def next_action(pulse: HeartbeatState, now: float) -> tuple[HeartbeatAction, float]:
    """What to do now, and for ``WAIT`` the seconds until the question should be asked again."""
    if not pulse.paused and now >= pulse.dead_at:
        return HeartbeatAction.DEAD, 0.0
    if now >= pulse.ping_at:
        return HeartbeatAction.PING, 0.0
    due = pulse.ping_at if pulse.paused else min(pulse.ping_at, pulse.dead_at)
    return HeartbeatAction.WAIT, due - now


def control_frame(kind: str, now: datetime) -> str:
    """A ``ping`` or ``pong`` as the orchestrator writes them."""
    return to_json({"type": kind, "timestamp": now.isoformat()}).decode()


def is_ping(frame: str | bytes) -> bool:
    """Whether the frame is the orchestrator's own ping, which wants a pong."""
    if len(frame) > MAX_PING_LENGTH or not isinstance(frame, str) or '"ping"' not in frame:
        return False
    try:
        content: Any = read_json(frame, strict=False)
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("type") == "ping"
