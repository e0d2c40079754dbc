"""Reads from another thread which lines the event loop's thread is running, and for which task."""

import os
import sys
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import trio

_TRIO_FOLDER: Final = f"{Path(trio.__file__).parent}{os.sep}"
_RUNNER_FILE: Final = str(Path(trio.__file__).parent / "_core" / "_run.py")
_RUNNERS: Final = ("unrolled_run", "run")
"""The functions of trio that run the tasks and wait for I/O; below them is only the start of the process."""
_OUR_FOLDER: Final = f"{Path(__file__).parents[2]}{os.sep}"


@dataclass(frozen=True, slots=True)
class LoopStack:
    """The lines that run, as file and line, innermost first; only those of the task, if trio tells which it is.

    ``context`` has the context variables of the task; None if unknown. No lines: the loop waits for I/O.
    """

    lines: tuple[tuple[str, int], ...] = ()
    context: Context | None = None

    def own_line(self) -> str:
        """The innermost line of this package, as ``ingest/writer.py:88``; else the innermost of all; else ""."""
        own = [(file, line) for file, line in self.lines if is_ours(file)]
        return next((place(file, line) for file, line in own or self.lines), "")


def place(file: str, line: int) -> str:
    """``ingest/writer.py:88``: the file with its folder, and the line."""
    path = Path(file)
    return f"{Path(path.parent.name, path.name)}:{line}"


def is_ours(file: str) -> bool:
    """True for a file of this package."""
    return file.startswith(_OUR_FOLDER)


def thread_stacks() -> dict[int, LoopStack]:
    """The stack of each thread at this moment, by the ``ident`` of the thread."""
    frames = sys._current_frames()  # noqa: SLF001  # documented, in spite of its name
    return {ident: _stack(frame) for ident, frame in frames.items()}


def _stack(frame: FrameType | None) -> LoopStack:
    lines: list[tuple[str, int]] = []
    while frame is not None:
        if _is_runner(frame):
            return LoopStack(_without_trios_wait(lines), _context_of_task(frame))
        lines.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return LoopStack(tuple(lines))


def _is_runner(frame: FrameType) -> bool:
    return frame.f_code.co_name in _RUNNERS and frame.f_code.co_filename == _RUNNER_FILE


def _without_trios_wait(lines: list[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The lines; none if all are trio's own: it waits for I/O, or runs callbacks."""
    return () if all(file.startswith(_TRIO_FOLDER) for file, _ in lines) else tuple(lines)


def _context_of_task(runner: FrameType) -> Context | None:
    task = runner.f_locals.get("task")
    return task.context if isinstance(task, trio.lowlevel.Task) else None
