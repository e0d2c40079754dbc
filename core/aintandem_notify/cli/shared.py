"""What several commands share: arguments, exit codes, and how wide to write."""

import shutil
import sys
from pathlib import Path
from typing import Final

import click

config_argument = click.argument(
    "config", metavar="[CONFIG]", type=click.Path(path_type=Path), default="config.toml", required=False
)
"""The configuration file; ``config.toml`` in the working directory if it is left out."""

plugins_dir_option = click.option(
    "--plugins-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default="plugins",
    show_default=True,
    help="Folder of one-file plugins, where no CONFIG says it.",
)
"""Where one-file plugins are when no configuration says it."""

EXIT_FAILED: Final = 1
"""Something that should have worked did not."""
EXIT_WRONG: Final = 2
"""Wrong usage or configuration; what click uses too."""

WIDEST: Final = 120
"""Columns beyond which lines are hard to read, however wide the terminal is."""


def terminal_width() -> int | None:
    """Columns to write to stdout in; None where it is no terminal: lines stay whole there, for grep and cut."""
    if not sys.stdout or not sys.stdout.isatty():
        return None
    return min(shutil.get_terminal_size().columns, WIDEST)
