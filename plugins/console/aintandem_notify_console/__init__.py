"""Shows notifications in the terminal; without a terminal, prints one plain line for each."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar, Literal

from pydantic import Field

from aintandem_notify.api import Notification, Plugin, PluginConfig, hookimpl
from aintandem_notify_console.lines import plain_line
from aintandem_notify_console.output import Output, supports_colours


class Config(PluginConfig):
    """The keys of ``[plugins.console.<name>]``."""

    stream: Literal["stdout", "stderr"] = Field("stdout", description="where to write")
    colour: Literal["auto", "always", "never"] = Field(
        "auto", description="auto: on a terminal that supports colours, unless NO_COLOR is set"
    )
    output_lines: int = Field(8, ge=0, le=1000, description="how many lines of a body are shown")


class Console(Plugin[Config]):
    """One stream of this process. Writes run in a worker thread: Ctrl-S can pause a terminal."""

    # Fast and local; a line that appears twice after a kill does no harm.
    in_flight: ClassVar[int] = 32
    digest_over: ClassVar[int | None] = None
    machine_local: ClassVar[bool] = True

    _output: Output
    _render: Callable[[Notification], str]

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Choose the layout by the kind of the stream."""
        self._output = Output(self.config.stream, sys.stdout if self.config.stream == "stdout" else sys.stderr)
        self._render = self._renderer()
        yield

    @hookimpl
    def deliver(self, notification: Notification) -> None:
        """Write one block or line."""
        self._output.write(self._render(notification))

    @hookimpl
    def check(self) -> None:
        """Raise DestinationBroken if the stream is closed."""
        self._output.write("")

    def _renderer(self) -> Callable[[Notification], str]:
        if not self._output.is_terminal and self.config.colour != "always":
            return lambda notification: plain_line(notification, self.config.output_lines)
        # rich is slow to import, and needed only for terminals.
        from aintandem_notify_console.terminal import Terminal

        colours = {"auto": supports_colours(os.environ, sys.platform), "always": True, "never": False}
        terminal = Terminal(colours=colours[self.config.colour], unicode=self._output.takes_unicode)
        return lambda notification: terminal.render(
            notification, width=self._output.width(), limit=self.config.output_lines, now=self.context.clock.now()
        )
