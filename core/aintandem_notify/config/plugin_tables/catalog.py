"""The protocols of the plugin catalog, with which the config validates plugin tables.

The catalog is implemented in ``plugins``, a layer above, so it comes in as an argument.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from aintandem_notify.config.plugin_config import PluginConfig


class PluginType(Protocol):
    """A plugin type, as ``slack``."""

    @property
    def name(self) -> str:
        """The word after ``plugins.`` in the header of a table."""
        ...

    @property
    def config_model(self) -> type[PluginConfig]:
        """The model of its instances' tables."""
        ...

    @property
    def delivers(self) -> bool:
        """True if its instances are destinations."""
        ...

    @property
    def is_for_people(self) -> bool:
        """True if people read each of its notifications."""
        ...

    def source_location(self, cls: type, attribute: str | None = None) -> str:
        """The source line where the class sets the attribute, as ``plugins/beep.py:9``; empty if unknown."""
        ...

    def raised_at(self, error: BaseException) -> str:
        """The innermost line of its source in the error's traceback; empty if unknown."""
        ...


class PluginCatalog(Protocol):
    """The plugin types that are installed, or are a file beside the config."""

    def names(self, plugins_dir: Path) -> Sequence[str]:
        """All names of types; imports none of them."""
        ...

    def find(self, name: str, plugins_dir: Path) -> PluginType:
        """The type of that name, imported; raises PluginError."""
        ...
