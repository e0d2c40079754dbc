"""Measures the time to turn a frame into an event: the quick way, the tolerant way, and msgspec alone."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import reduce
from itertools import islice
from operator import or_
from typing import Final

from msgspec import json

from aintandem_notify.domain.events import parse_frame, read_frames
from aintandem_notify.domain.events.event_types import WIRE_MODELS
from benchmarks.figures import Figure, LogProgress, Size
from benchmarks.frames import PROJECT, mix

BATCH_FRAMES: Final = 1000
"""Frames in one call; about as many as one read from a busy link."""
ROUNDS: Final = 5
_decode: Final = json.Decoder(reduce(or_, WIRE_MODELS.values())).decode


async def measure(size: Size, log_progress: LogProgress) -> list[Figure]:
    """Measure all in this process and in turns. The best round of each counts, as the least disturbed one."""
    log_progress("frames to events")
    frames = [json.encode(event) for event in islice(mix("parsing"), size.ingested)]
    batches = [frames[first : first + BATCH_FRAMES] for first in range(0, len(frames), BATCH_FRAMES)]
    received = datetime.now(UTC)
    ways: dict[str, Callable[[Sequence[bytes]], object]] = {
        "msgspec alone, into the same types": lambda batch: [_decode(frame) for frame in batch],
        "the quick way": lambda batch: read_frames(batch, PROJECT, lambda _frame: None),
        "the tolerant way": lambda batch: [parse_frame(frame, PROJECT, received) for frame in batch],
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, read in ways.items():
            best[name] = min(best[name], _seconds(read, batches) / len(frames))
    return [Figure(f"a frame to an event, {name}", f"{seconds * 1e6:.2f} µs") for name, seconds in best.items()]


def _seconds(read: Callable[[Sequence[bytes]], object], batches: Sequence[Sequence[bytes]]) -> float:
    """Processor time. The events of a batch are gone before those of the next are made, as in the agent."""
    began = time.process_time()
    for batch in batches:
        read(batch)
    return time.process_time() - began
