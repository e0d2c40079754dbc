"""Writes lines and bars to standard output.

A thread does the writing, so that a paused reader blocks only that.
"""

import math
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

import trio

from aintandem_notify.domain.events import Event
from aintandem_notify.foundation.printable import escape
from aintandem_notify.foundation.stdio.encoding import encode, encode_json
from aintandem_notify.foundation.threads import run_in_thread
from aintandem_notify.live_view.model import DisplayLine, RunTracker, TaskBar
from aintandem_notify.live_view.render import json_line, plain_lines, render_bars, terminal_lines, wrap

MAX_WAITING_LINES: Final = 500
"""Lines that may wait to be written before readers of events wait, too."""
LONG_EVENT_LENGTH: Final = 16_384
"""Characters of an event. Redacting secrets in a longer one takes so long that a thread makes its lines."""
FRAME_S: Final = 0.1
"""Seconds between two refreshes of a terminal with bars; lines wait as long."""
STATUS_INTERVAL_S: Final = 1.0
"""Seconds between two refreshes of a terminal without bars, for the time in the status line."""
CLOSE_TIMEOUT_S: Final = 5.0
"""Seconds for a terminal to take the last refresh. If it is paused and takes none, its cursor stays hidden."""
_OTHER_ROWS: Final = 7
"""Rows of a terminal that stay free for the lines above the bars, and for the status line."""


class ReaderGone(Exception):  # not in ``errors``: it is no failure
    """The reader of standard output is gone."""


class Style(StrEnum):
    """The form of the output."""

    SCREEN = "screen"
    PLAIN = "plain"
    JSON = "json"


class OutputWriter(Protocol):
    """Writes to standard output. Used in threads, by one at a time.

    Its methods raise OSError: BrokenPipeError when the reader is gone, another one for a full disk and the like.
    """

    def write(self, lines: Sequence[DisplayLine | str], running: Sequence[TaskBar], status: str) -> None:
        """Write ``lines``, and replace the bars and the status line that were shown before."""
        ...

    def close(self) -> None:
        """Restore the terminal."""
        ...


class Display:
    """Queues the lines of events for standard output; made by ``open_display``."""

    def __init__(self, style: Style, tracker: RunTracker, status: Callable[[], str] = str) -> None:
        """``status`` makes the status line of a terminal."""
        self._style = style
        self._tracker = tracker
        self._status = status
        self._waiting: list[DisplayLine | str] = []
        self._arrived = trio.Event()
        self._room = trio.Event()
        self._finished = False

    @property
    def has_status(self) -> bool:
        """Whether it shows the status line."""
        return self._style is Style.SCREEN

    async def show_event(self, event: Event, make_lines: Callable[[], Sequence[DisplayLine]]) -> None:
        """Queue ``event`` as JSON, or else the lines of ``make_lines``.

        Waits while too many lines are unwritten.
        """
        if self._style is Style.JSON:
            await self._put([json_line(event)])
            return
        is_long = len(event.wire_json) > LONG_EVENT_LENGTH
        lines = await run_in_thread(make_lines, abandon_on_cancel=True) if is_long else make_lines()
        await self._put(lines if self._style is Style.PLAIN else [line for line in lines if not line.is_step])

    async def show_notice(self, line: DisplayLine) -> None:
        """Queue a line that is not about an event. With JSON it goes to standard error, if there is one."""
        if self._style is Style.JSON:
            with suppress(OSError, ValueError, AttributeError):  # full, closed, or never there
                sys.stderr.write(f"{escape(line.text)}\n")
        else:
            await self._put([line])

    async def _put(self, lines: Sequence[DisplayLine | str]) -> None:
        self._waiting += lines
        self._arrived.set()
        while len(self._waiting) >= MAX_WAITING_LINES:
            await self._room.wait()

    async def keep_writing(self, writer: OutputWriter) -> None:
        """Write the waiting lines, again and again; returns once all is written after ``finish``.

        Raises as ``open_display``.
        """
        while self._waiting or not self._finished:
            with trio.move_on_after(self._refresh_interval()):
                await self._arrived.wait()
            if self._style is Style.SCREEN:
                await trio.sleep(FRAME_S)
            await self._write(writer)

    def _refresh_interval(self) -> float:
        if self._style is not Style.SCREEN:
            return math.inf
        return FRAME_S if self._tracker.bars() else STATUS_INTERVAL_S

    def finish(self) -> None:
        """Let ``keep_writing`` return once all is written."""
        self._finished = True
        self._arrived.set()

    async def _write(self, writer: OutputWriter) -> None:
        lines, self._waiting = self._waiting, []
        room, self._room = self._room, trio.Event()
        self._arrived = trio.Event()
        try:
            await run_in_thread(writer.write, lines, self._tracker.bars(), self._status(), abandon_on_cancel=True)
        except BrokenPipeError as error:
            raise ReaderGone from error
        room.set()


@asynccontextmanager
async def open_display(
    style: Style,
    tracker: RunTracker,
    *,
    now: Callable[[], datetime],
    with_project: bool,
    status: Callable[[], str],
) -> AsyncIterator[Display]:
    """Writes during the block, and the remaining lines when the block ends without an error.

    Raises ReaderGone and OSError.
    """
    display = Display(style, tracker, status)
    writer: OutputWriter = (
        ScreenWriter(now, with_project=with_project)
        if style is Style.SCREEN
        else TextWriter(as_json=style is Style.JSON)
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(display.keep_writing, writer)
            yield display
            # Not cancelled: lines that the thread is just writing would be lost with the process.
            display.finish()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_TIMEOUT_S):
            await run_in_thread(writer.close, abandon_on_cancel=True)


class TextWriter:
    """Writes whole lines without Python's buffer, which could not be flushed at exit once the reader is gone."""

    def __init__(self, *, as_json: bool) -> None:
        self._encode = encode_json if as_json else encode

    def write(self, lines: Sequence[DisplayLine | str], running: Sequence[TaskBar], status: str) -> None:  # noqa: ARG002  # lines only
        """As ``OutputWriter.write``."""
        texts = [text for line in lines for text in ([line] if isinstance(line, str) else plain_lines(line))]
        content = self._encode("".join(f"{text}\n" for text in texts), sys.stdout.encoding)
        while content:
            content = content[os.write(sys.stdout.fileno(), content) :]

    def close(self) -> None:
        """As ``OutputWriter.close``."""


class ScreenWriter:
    """Writes lines that scroll; below them bars for the running tasks, and a status line."""

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

    def write(self, lines: Sequence[DisplayLine | str], running: Sequence[TaskBar], status: str) -> None:
        """As ``OutputWriter.write``."""
        from rich.text import Text

        texts = [
            text
            for line in lines
            if isinstance(line, DisplayLine)
            for margin, beside in terminal_lines(line, zone=None, with_project=self._with_project)
            for text in wrap(margin, beside, self._console)
        ]
        columns, rows = self._console.size
        live_bars = render_bars(
            running,
            now=self._now(),
            rows=rows - _OTHER_ROWS,
            columns=columns,
            with_project=self._with_project,
            status=status,
        )
        self._live.update(live_bars)
        if texts:
            self._console.print(Text("\n").join(texts), soft_wrap=True)
        self._live.refresh()

    def close(self) -> None:
        """As ``OutputWriter.close``: removes the bars and shows the cursor."""
        self._live.stop()
