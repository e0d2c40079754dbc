"""What several commands share: arguments, exit codes, how wide to write, and how work is interrupted."""

import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    import trio

    from aintandem_notify.plugins import FilePolicy

P = ParamSpec("P")
T = TypeVar("T")

config_argument = click.argument(
    "config", metavar="[CONFIG]", type=click.Path(path_type=Path), default="config.toml", required=False
)
"""The configuration file; ``config.toml`` in the working directory if it is left out."""

plugins_dir_option = click.option(
    "--plugins-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default="plugins",
    show_default=True,
    help="Folder of one-file plugins, where no CONFIG says it; they are loaded only from one that is given.",
)
"""Where one-file plugins are when no configuration says it."""

EXIT_FAILED: Final = 1
"""Something that should have worked did not."""
EXIT_WRONG: Final = 2
"""Wrong usage, configuration or limit of open files; what click uses too."""

TEARDOWN_GRACE_S: Final = 10.0
"""Seconds that plugins get to tear down after a Ctrl-C: more than they take where the machine is busy."""

MAX_WIDTH: Final = 120
"""Columns beyond which lines are hard to read, however wide the terminal is."""


def plugin_file_policy(parameter: str) -> "FilePolicy":
    """Whether one-file plugins are run: only where the user has named the config, or the folder that they are in.

    They are code, and the folder that one happens to stand in may be anybody's. ``parameter`` is the name of the
    command's own.
    """
    from click.core import ParameterSource

    from aintandem_notify.plugins import FilePolicy

    source = click.get_current_context().get_parameter_source(parameter)
    return FilePolicy.REJECT if source is ParameterSource.DEFAULT else FilePolicy.IMPORT


def resource_id(text: str) -> str:
    """The type of options that name a project or task; raises BadParameter for what cannot be the id of one."""
    from aintandem_notify.orchestrator import InvalidId, validate_id

    try:
        return validate_id(text)
    except InvalidId as error:
        raise click.BadParameter(str(error)) from None


def terminal_width() -> int | None:
    """Columns to write to stdout in; None where it is no terminal: lines stay whole there, for grep and cut."""
    if not sys.stdout or not sys.stdout.isatty():
        return None
    return min(shutil.get_terminal_size().columns, MAX_WIDTH)


def run_interruptible(work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of ``work``, run by trio; raises KeyboardInterrupt after a Ctrl-C, when it has been torn down.

    Not trio's own way, which raises it in whatever runs at that moment: in a plugin it would pass for the
    plugin's fault. A second Ctrl-C, or ``TEARDOWN_GRACE_S``, ends a process that a plugin blocks.
    """
    import trio

    from aintandem_notify.foundation.signals import stop_signals

    async def until_interrupted() -> T:
        with stop_signals(lambda: TEARDOWN_GRACE_S) as stop:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when, stop, nursery.cancel_scope)
                result = await work(*args, **kwargs)
                nursery.cancel_scope.cancel()
                return result
        raise KeyboardInterrupt

    return trio.run(until_interrupted)


async def _cancel_when(stop: "trio.Event", scope: "trio.CancelScope") -> None:
    await stop.wait()
    scope.cancel()
