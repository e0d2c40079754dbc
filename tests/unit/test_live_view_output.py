"""How lines wait for whoever reads standard output."""

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


class Notebook:
    """A pen that keeps what is written, or fails."""

    def __init__(self, error: OSError | None = None) -> None:
        self.texts: list[str] = []
        self.most_at_once = 0
        self._error = error

    def write(self, said: Sequence[DisplayLine | str], running: Sequence[TaskBar]) -> None:
        if self._error is not None:
            raise self._error
        self.most_at_once = max(self.most_at_once, len(said))
        self.texts += [one if isinstance(one, str) else one.text for one in said]

    def close(self) -> None:
        pass


def line(text: str) -> DisplayLine:
    return DisplayLine(datetime(2026, 3, 1, tzinfo=UTC), PROJECT, Severity.INFO, text)


async def test_many_who_say_more_than_fits_all_get_their_turn_and_nothing_is_lost() -> None:
    display, notebook = Display(Style.PLAIN, RunTracker()), Notebook()

    async def say_much(name: str) -> None:
        for number in range(3 * MAX_WAITING_LINES):
            await display.show_notice(line(f"{name}{number}"))

    with trio.fail_after(180):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(display.keep_writing, notebook)
            async with trio.open_nursery() as speakers:
                for name in "abcd":
                    speakers.start_soon(say_much, name)
            display.finish()
    for name in "abcd":
        of_one = [text for text in notebook.texts if text.startswith(name)]
        assert of_one == [f"{name}{number}" for number in range(3 * MAX_WAITING_LINES)]
    assert notebook.most_at_once <= MAX_WAITING_LINES + 4


async def test_what_waits_at_the_end_is_written() -> None:
    display, notebook = Display(Style.PLAIN, RunTracker()), Notebook()
    await display.show_notice(line("last"))
    display.finish()
    await display.keep_writing(notebook)
    assert notebook.texts == ["last"]


async def test_a_reader_that_is_gone_is_told_of() -> None:
    display = Display(Style.PLAIN, RunTracker())
    await display.show_notice(line("x"))
    with pytest.raises(ReaderGone):
        await display.keep_writing(Notebook(BrokenPipeError()))


async def test_a_disk_that_is_full_is_no_reader_that_is_gone() -> None:
    display = Display(Style.PLAIN, RunTracker())
    await display.show_notice(line("x"))
    with pytest.raises(OSError, match="No space left"):
        await display.keep_writing(Notebook(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))


async def test_steps_are_for_the_bar_where_there_is_one() -> None:
    step = DisplayLine(datetime(2026, 3, 1, tzinfo=UTC), PROJECT, Severity.INFO, "step", is_step=True)
    cases: tuple[tuple[Style, list[str]], ...] = ((Style.SCREEN, []), (Style.PLAIN, ["step"]))
    for style, written in cases:
        display, notebook = Display(style, RunTracker()), Notebook()
        await display.show_event(
            sample_event("step_progress", timestamp=step.moment, projectId="p"), lambda: [step]
        )
        display.finish()
        await display.keep_writing(notebook)
        assert notebook.texts == written


async def test_the_lines_of_a_long_event_are_made_in_a_thread_and_none_for_json() -> None:
    threads: list[threading.Thread] = []

    def made() -> list[DisplayLine]:
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
        await Display(style, RunTracker()).show_event(event, made)
        assert [one is threading.main_thread() for one in threads] == expected
