"""Shared by the commands: arguments, exit codes, line width and interruptible work."""

import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    import trio

    from aintandem_notify.plugins import FilePolicy

P = ParamSpec("P")
T = TypeVar("T")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Adds an argument or option to a command."""

config_argument: Decorator = click.argument(
    "config", metavar="[CONFIG]", type=click.Path(path_type=Path), default="config.toml", required=False
)
"""The configuration file; by default ``config.toml`` in the working directory."""

plugins_dir_option: Decorator = click.option(
    "--plugins-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default="plugins",
    show_default=True,
    help="Folder of one-file plugins, if no CONFIG names it. They are loaded only from a folder given here.",
)
"""The folder of one-file plugins, for commands without a configuration."""

EXIT_FAILED: Final = 1
"""An operation failed."""
EXIT_WRONG: Final = 2
"""Wrong usage or configuration, or too low a limit of open files; click uses the same code."""

TEARDOWN_GRACE_S: Final = 10.0
"""Seconds that plugins get to tear down after a Ctrl-C; enough on a busy machine."""

MAX_WIDTH: Final = 120
"""Maximum line width in columns; longer lines are hard to read."""


def plugin_file_policy(parameter: str) -> "FilePolicy":
    """Returns whether one-file plugins may be loaded: only if the user named the config or their folder.

    They are code, and the working directory may belong to anybody. ``parameter`` is the command's parameter for
    the config or the folder.
    """
    from click.core import ParameterSource

    from aintandem_notify.plugins import FilePolicy

    source = click.get_current_context().get_parameter_source(parameter)
    return FilePolicy.REJECT if source is ParameterSource.DEFAULT else FilePolicy.IMPORT


def resource_id(text: str) -> str:
    """The type of options with the id of a project or task. Raises BadParameter for an impossible id."""
    from aintandem_notify.orchestrator import InvalidId, validate_id

    try:
        return validate_id(text)
    except InvalidId as error:
        raise click.BadParameter(str(error)) from None


def terminal_width() -> int | None:
    """Returns the columns of the terminal; None if stdout is no terminal.

    Lines then stay whole, for grep and cut.
    """
    if not sys.stdout or not sys.stdout.isatty():
        return None
    return min(shutil.get_terminal_size().columns, MAX_WIDTH)


def run_interruptible(work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs ``work`` with trio and returns its result. After a Ctrl-C it tears down and raises KeyboardInterrupt.

    Trio itself would raise it in any running code; raised in a plugin, it would count as the plugin's fault. A
    second Ctrl-C, or the end of ``TEARDOWN_GRACE_S``, ends a process that a plugin blocks.
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
