"""Encodes the frames of a busy project: a realistic mix of events, every frame different."""

import struct
from collections.abc import Iterator
from itertools import count, islice
from typing import Any, Final

from msgspec import json

PROJECT: Final = "project-0"
MARK: Final = "sandbox_error"
"""The only event type that the mix does not contain. An event of it is sent last and marks the end."""
ENDS: Final = ("task_completed", "workflow_execution_completed")
"""The types of the mix that end a run that a person waits for."""
STEPS: Final = ("Fetch the sources", "Clean the rows", "Train the model", "Write the report")
OUTPUT_LINES_PER_STEP: Final = 5
CHUNK_BYTES: Final = 256 * 2**10


def text_frame(content: dict[str, Any]) -> bytes:
    """One unfragmented, unmasked WebSocket text frame, as servers send them."""
    payload = json.encode(content)
    if len(payload) < 126:
        return struct.pack("!BB", 0x81, len(payload)) + payload
    if len(payload) < 2**16:
        return struct.pack("!BBH", 0x81, 126, len(payload)) + payload
    return struct.pack("!BBQ", 0x81, 127, len(payload)) + payload


def event(kind: str, number: int, project: str = PROJECT, **fields: Any) -> dict[str, Any]:
    """An event as the orchestrator sends it. Its time is derived from ``number``."""
    seconds, milliseconds = divmod(number, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    moment = f"2026-03-01T{hours % 24:02}:{minutes:02}:{seconds:02}.{milliseconds:03}Z"
    return {"type": kind, "timestamp": moment, "projectId": project, **fields}


def mark_name(salt: str) -> str:
    """The name in the mark that ends the frames of ``salt``. No other frame contains it."""
    return f"end-of-{salt}"


def mark(salt: str, project: str = PROJECT) -> bytes:
    """The frame that ends the frames of ``salt``."""
    return text_frame(event(MARK, 0, project, sandboxId=mark_name(salt), error=mark_name(salt)))


def mix(salt: str) -> Iterator[dict[str, Any]]:
    """Endless events of tasks with steps, and of workflows and sandboxes between them.

    Of a hundred events, 60 are output and 24 are progress. ``salt`` makes the ids of two rounds different.
    """
    numbers = count()
    for task in count():
        yield from _task(f"task-{salt}-{task:06}", numbers)
        if task % 4 == 0:
            yield from _workflow(f"execution-{salt}-{task:06}", numbers)
        if task % 20 == 0:
            sandbox = {"sandboxId": f"sandbox-{salt}-{task:06}"}
            yield event("sandbox_created", next(numbers), **sandbox, image="aintandem/sandbox:24.04")
            yield event("sandbox_started", next(numbers), **sandbox)
            yield event("sandbox_stopped", next(numbers), **sandbox, exitCode=0)


def _task(task: str, numbers: Iterator[int]) -> Iterator[dict[str, Any]]:
    ids = {"taskId": task}
    yield event("task_queued", next(numbers), **ids, task="nightly-report", input={"dataset": "sales-2026"})
    yield event("task_started", next(numbers), **ids, task="nightly-report")
    for index, step in enumerate(STEPS):
        place = {**ids, "stepId": f"step-{index}"}
        yield event("step_progress", next(numbers), **place, step=step, status="running", progress=index * 25)
        for _ in range(OUTPUT_LINES_PER_STEP):
            line = next(numbers)
            yield event("output", line, **place, output=f"[{line:08}] {step}: row {line * 17} of 1000000 done\n")
        yield event(
            "step_progress",
            next(numbers),
            **place,
            step=step,
            status="completed",
            message=f"{step}: done without a hitch",
            progress=index * 25 + 25,
        )
    artifact = {"path": f"out/{task}.pdf", "type": "application/pdf", "size": 48_213}
    yield event("artifact", next(numbers), **ids, artifact=artifact)
    yield event("task_completed", next(numbers), **ids, task="nightly-report", output={"rows": 17}, duration=61.5)


def _workflow(execution: str, numbers: Iterator[int]) -> Iterator[dict[str, Any]]:
    ids = {"executionId": execution, "workflowId": "month-end"}
    phase = {**ids, "phaseId": "phase-1", "phase": "Collect"}
    yield event("workflow_execution_created", next(numbers), **ids, input={"month": "2026-03"})
    yield event("workflow_execution_started", next(numbers), **ids)
    yield event("workflow_phase_started", next(numbers), **phase)
    yield event("workflow_phase_completed", next(numbers), **phase, output={"files": 3})
    yield event("workflow_execution_completed", next(numbers), **ids, duration=240.0)


def chunks(events: int, salt: str) -> list[bytes]:
    """``events`` frames of the mix and their mark, in chunks that are sent in one write each."""
    pieces: list[bytes] = []
    piece = bytearray()
    for content in islice(mix(salt), events):
        piece += text_frame(content)
        if len(piece) >= CHUNK_BYTES:
            pieces.append(bytes(piece))
            piece.clear()
    return [*pieces, bytes(piece) + mark(salt)]
