"""What several commands share: arguments and exit codes."""

from pathlib import Path
from typing import Final

import click

config_argument = click.argument(
    "config", metavar="[CONFIG]", type=click.Path(path_type=Path), default="config.toml", required=False
)
"""The configuration file; ``config.toml`` in the working directory if it is left out."""

EXIT_FAILED: Final = 1
"""Something that should have worked did not."""
EXIT_WRONG: Final = 2
"""Wrong usage or configuration; what click uses too."""
