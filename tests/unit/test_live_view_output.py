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
from aintandem_notify.live_view.model import Bar, Board, Line
from aintandem_notify.live_view.output import ROOM, Paper, ReaderGone, Style

PROJECT = Project(id="project-123", name="Sales")


class Notebook:
    """A pen that keeps what is written, or fails."""

    def __init__(self, error: OSError | None = None) -> None:
        self.texts: list[str] = []
        self.most_at_once = 0
        self._error = error

    def write(self, said: Sequence[Line | str], running: Sequence[Bar]) -> None:
        if self._error is not None:
            raise self._error
        self.most_at_once = max(self.most_at_once, len(said))
        self.texts += [one if isinstance(one, str) else one.text for one in said]

    def close(self) -> None:
        pass


def line(text: str) -> Line:
    return Line(datetime(2026, 3, 1, tzinfo=UTC), PROJECT, Severity.INFO, text)


async def test_many_who_say_more_than_fits_all_get_their_turn_and_nothing_is_lost() -> None:
    paper, notebook = Paper(Style.PLAIN, Board()), Notebook()

    async def say_much(name: str) -> None:
        for number in range(3 * ROOM):
            await paper.say(line(f"{name}{number}"))

    with trio.fail_after(180):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(paper.keep_writing, notebook)
            async with trio.open_nursery() as speakers:
                for name in "abcd":
                    speakers.start_soon(say_much, name)
            paper.finish()
    for name in "abcd":
        of_one = [text for text in notebook.texts if text.startswith(name)]
        assert of_one == [f"{name}{number}" for number in range(3 * ROOM)]
    assert notebook.most_at_once <= ROOM + 4


async def test_what_waits_at_the_end_is_written() -> None:
    paper, notebook = Paper(Style.PLAIN, Board()), Notebook()
    await paper.say(line("last"))
    paper.finish()
    await paper.keep_writing(notebook)
    assert notebook.texts == ["last"]


async def test_a_reader_that_is_gone_is_told_of() -> None:
    paper = Paper(Style.PLAIN, Board())
    await paper.say(line("x"))
    with pytest.raises(ReaderGone):
        await paper.keep_writing(Notebook(BrokenPipeError()))


async def test_a_disk_that_is_full_is_no_reader_that_is_gone() -> None:
    paper = Paper(Style.PLAIN, Board())
    await paper.say(line("x"))
    with pytest.raises(OSError, match="No space left"):
        await paper.keep_writing(Notebook(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))


async def test_steps_are_for_the_bar_where_there_is_one() -> None:
    step = Line(datetime(2026, 3, 1, tzinfo=UTC), PROJECT, Severity.INFO, "step", is_step=True)
    cases: tuple[tuple[Style, list[str]], ...] = ((Style.SCREEN, []), (Style.PLAIN, ["step"]))
    for style, written in cases:
        paper, notebook = Paper(style, Board()), Notebook()
        await paper.show(sample_event("step_progress", timestamp=step.moment, projectId="p"), lambda: [step])
        paper.finish()
        await paper.keep_writing(notebook)
        assert notebook.texts == written


async def test_the_lines_of_a_long_event_are_made_in_a_thread_and_none_for_json() -> None:
    threads: list[threading.Thread] = []

    def made() -> list[Line]:
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
        await Paper(style, Board()).show(event, made)
        assert [one is threading.main_thread() for one in threads] == expected
