"""What the config asks about plugins, to validate their tables.

The catalog lives in a row above, so it comes in as an argument; these are the shapes that are asked for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from aintandem_notify.config.plugin_config import PluginConfig


class PluginType(Protocol):
    """A kind of plugin, as ``slack``."""

    @property
    def name(self) -> str:
        """The word after ``plugins.`` in a table's header."""
        ...

    @property
    def config_model(self) -> type[PluginConfig]:
        """What the tables of its instances are validated with."""
        ...

    @property
    def delivers(self) -> bool:
        """Whether its instances are destinations."""
        ...

    def source_location(self, cls: type, attribute: str | None = None) -> str:
        """Where in its source the class sets the attribute, as ``plugins/beep.py:9``; empty if nobody knows."""
        ...

    def raised_at(self, error: BaseException) -> str:
        """The innermost line of its source that the error came through; empty if nobody knows."""
        ...


class PluginCatalog(Protocol):
    """The plugin types that are installed, or stand as a file beside the config."""

    def names(self, plugins_dir: Path) -> Sequence[str]:
        """Every type that could be named; imports none of them."""
        ...

    def find(self, name: str, plugins_dir: Path) -> PluginType:
        """The type of that name, imported; raises PluginError."""
        ...
