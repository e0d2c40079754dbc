"""Where it all goes: standard output, written in a thread, so that a reader that pauses pauses only us."""

import math
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

import trio

from aintandem_notify.domain.events import Event
from aintandem_notify.foundation.printable import escape
from aintandem_notify.foundation.threads import run_in_thread
from aintandem_notify.live_view.model import Bar, Board, Line
from aintandem_notify.live_view.render import bars, json_line, plain_lines, terminal_lines, wrapped

ROOM: Final = 500
"""Lines that wait to be written before whoever reads events has to wait, too."""
LONG_EVENT: Final = 16_384
"""Characters of an event; to take the secrets out of a longer one takes so long that a thread does it."""
FRAME_S: Final = 0.1
"""Pause between two pictures on a terminal; lines wait as long."""
CLOSING_S: Final = 5.0
"""How long a terminal gets to take the last picture, or its cursor stays hidden; one that is paused takes none."""
_ROWS_LEFT: Final = 6
"""Rows of a terminal that bars leave to the lines above them."""


class ReaderGone(Exception):  # not one of ``errors``: it is no failure
    """Nobody reads standard output any more."""


class Style(StrEnum):
    """How to show things."""

    SCREEN = "screen"
    PLAIN = "plain"
    JSON = "json"


class Pen(Protocol):
    """Writes to standard output; used from threads, by one at a time.

    Its methods raise OSError: BrokenPipeError when nobody reads any more, another for a full disk and the like.
    """

    def write(self, said: Sequence[Line | str], running: Sequence[Bar]) -> None:
        """Write what is said; show what runs in place of what was shown before."""
        ...

    def close(self) -> None:
        """Leave standard output as it should be found."""
        ...


class Paper:
    """The way from events to standard output; made by ``open_paper``."""

    def __init__(self, style: Style, board: Board) -> None:
        self._style = style
        self._board = board
        self._waiting: list[Line | str] = []
        self._news = trio.Event()
        self._room = trio.Event()
        self._finished = False

    async def show(self, event: Event, made: Callable[[], Sequence[Line]]) -> None:
        """An event, or the lines that are ``made`` of it. Waits while too much is unwritten."""
        if self._style is Style.JSON:
            await self._put([json_line(event)])
            return
        is_long = len(event.wire_json) > LONG_EVENT
        lines = await run_in_thread(made, abandon_on_cancel=True) if is_long else made()
        await self._put(lines if self._style is Style.PLAIN else [line for line in lines if not line.is_step])

    async def say(self, line: Line) -> None:
        """A word of our own; beside JSON it goes to standard error."""
        if self._style is Style.JSON:
            sys.stderr.write(f"{escape(line.text)}\n")
        else:
            await self._put([line])

    async def _put(self, lines: Sequence[Line | str]) -> None:
        self._waiting += lines
        self._news.set()
        while len(self._waiting) >= ROOM:
            await self._room.wait()

    async def keep_writing(self, pen: Pen) -> None:
        """Write what there is, time and again, until all is written after ``finish``. Raises as ``open_paper``."""
        while self._waiting or not self._finished:
            moving = self._style is Style.SCREEN and self._board.bars()
            with trio.move_on_after(FRAME_S if moving else math.inf):
                await self._news.wait()
            if self._style is Style.SCREEN:
                await trio.sleep(FRAME_S)
            await self._write(pen)

    def finish(self) -> None:
        """Nothing more comes."""
        self._finished = True
        self._news.set()

    async def _write(self, pen: Pen) -> None:
        lines, self._waiting = self._waiting, []
        room, self._room = self._room, trio.Event()
        self._news = trio.Event()
        try:
            await run_in_thread(pen.write, lines, self._board.bars(), abandon_on_cancel=True)
        except BrokenPipeError as error:
            raise ReaderGone from error
        room.set()


@asynccontextmanager
async def open_paper(
    style: Style, board: Board, *, now: Callable[[], datetime], with_project: bool
) -> AsyncIterator[Paper]:
    """Writes as long as the block runs, and what is left when it ends by itself. Raises ReaderGone and OSError."""
    paper = Paper(style, board)
    pen: Pen = ScreenPen(now, with_project=with_project) if style is Style.SCREEN else TextPen()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(paper.keep_writing, pen)
            yield paper
            # Not cancelled: what a thread is writing just now would be lost with the process.
            paper.finish()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSING_S):
            await run_in_thread(pen.close, abandon_on_cancel=True)


class TextPen:
    """Whole lines, past Python's buffer: what the reader has not taken when it goes must not fail at exit."""

    def write(self, said: Sequence[Line | str], running: Sequence[Bar]) -> None:  # noqa: ARG002  # no bars here
        """As ``Pen.write``."""
        texts = [text for one in said for text in ([one] if isinstance(one, str) else plain_lines(one))]
        content = "".join(f"{text}\n" for text in texts).encode(sys.stdout.encoding, "backslashreplace")
        while content:
            content = content[os.write(sys.stdout.fileno(), content) :]

    def close(self) -> None:
        """As ``Pen.close``."""


class ScreenPen:
    """Lines that scroll by, and the running tasks below them."""

    def __init__(self, now: Callable[[], datetime], *, with_project: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._now = now
        self._with_project = with_project
        self._console = Console(markup=False, emoji=False, highlight=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def write(self, said: Sequence[Line | str], running: Sequence[Bar]) -> None:
        """As ``Pen.write``."""
        from rich.text import Text

        texts = [
            text
            for one in said
            if isinstance(one, Line)
            for margin, beside in terminal_lines(one, zone=None, with_project=self._with_project)
            for text in wrapped(margin, beside, self._console)
        ]
        columns, rows = self._console.size
        shown = bars(
            running, now=self._now(), rows=rows - _ROWS_LEFT, columns=columns, with_project=self._with_project
        )
        self._live.update(shown)
        if texts:
            self._console.print(Text("\n").join(texts), soft_wrap=True)
        self._live.refresh()

    def close(self) -> None:
        """As ``Pen.close``: without bars, with a cursor."""
        self._live.stop()
