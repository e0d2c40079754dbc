"""Lines wait until they are written to standard output."""

import errno
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import trio

from aintandem_notify.domain.notification import Project, Severity
from aintandem_notify.domain.samples import sample_event
from aintandem_notify.live_view.model import DisplayLine, RunTracker, TaskBar
from aintandem_notify.live_view.output import MAX_WAITING_LINES, Display, ReaderGone, Style

PROJECT = Project(id="project-123", name="Sales")


class RecordingWriter:
    """A writer that stores its lines, or fails."""

    def __init__(self, error: OSError | None = None) -> None:
        self.texts: list[str] = []
        self.largest_batch = 0
        self._error = error

    def write(self, lines: Sequence[DisplayLine | str], running: Sequence[TaskBar], status: str) -> None:
        if self._error is not None:
            raise self._error
        self.largest_batch = max(self.largest_batch, len(lines))
        self.texts += [line if isinstance(line, str) else line.text for line in lines]

    def close(self) -> None:
        pass


def line(text: str) -> DisplayLine:
    return DisplayLine(datetime(2026, 3, 1, tzinfo=UTC), PROJECT, Severity.INFO, text)


async def test_many_tasks_that_write_more_than_fits_lose_no_line() -> None:
    display, writer = Display(Style.PLAIN, RunTracker()), RecordingWriter()

    async def write_much(name: str) -> None:
        for number in range(3 * MAX_WAITING_LINES):
            await display.show_notice(line(f"{name}{number}"))

    with trio.fail_after(180):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(display.keep_writing, writer)
            async with trio.open_nursery() as writers:
                for name in "abcd":
                    writers.start_soon(write_much, name)
            display.finish()
    for name in "abcd":
        own = [text for text in writer.texts if text.startswith(name)]
        assert own == [f"{name}{number}" for number in range(3 * MAX_WAITING_LINES)]
    assert writer.largest_batch <= MAX_WAITING_LINES + 4


async def test_waiting_lines_are_written_at_the_end() -> None:
    display, writer = Display(Style.PLAIN, RunTracker()), RecordingWriter()
    await display.show_notice(line("last"))
    display.finish()
    await display.keep_writing(writer)
    assert writer.texts == ["last"]


async def test_a_reader_that_is_gone_raises() -> None:
    display = Display(Style.PLAIN, RunTracker())
    await display.show_notice(line("x"))
    with pytest.raises(ReaderGone):
        await display.keep_writing(RecordingWriter(BrokenPipeError()))


async def test_a_full_disk_is_not_a_reader_that_is_gone() -> None:
    display = Display(Style.PLAIN, RunTracker())
    await display.show_notice(line("x"))
    with pytest.raises(OSError, match="No space left"):
        await display.keep_writing(RecordingWriter(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))


async def test_steps_are_for_the_bar_where_there_is_one() -> None:
    step = DisplayLine(datetime(2026, 3, 1, tzinfo=UTC), PROJECT, Severity.INFO, "step", is_step=True)
    cases: tuple[tuple[Style, list[str]], ...] = ((Style.SCREEN, []), (Style.PLAIN, ["step"]))
    for style, written in cases:
        display, writer = Display(style, RunTracker()), RecordingWriter()
        await display.show_event(
            sample_event("step_progress", timestamp=step.moment, projectId="p"), lambda: [step]
        )
        display.finish()
        await display.keep_writing(writer)
        assert writer.texts == written


async def test_the_lines_of_a_long_event_are_made_in_a_thread_and_none_for_json() -> None:
    threads: list[threading.Thread] = []

    def make_lines() -> list[DisplayLine]:
        threads.append(threading.current_thread())
        return [line("made")]

    for style, output, expected in (
        (Style.PLAIN, "x", [True]),
        (Style.PLAIN, "x" * 1_000_000, [False]),
        (Style.SCREEN, "x" * 1_000_000, [False]),
        (Style.JSON, "x" * 1_000_000, []),
    ):
        threads.clear()
        event = sample_event("output", timestamp=datetime(2026, 3, 1, tzinfo=UTC), projectId="p", output=output)
        await Display(style, RunTracker()).show_event(event, make_lines)
        assert [thread is threading.main_thread() for thread in threads] == expected
