"""Describes an imported plugin type."""

from dataclasses import dataclass, field
from typing import Any

from aintandem_notify.api import Plugin
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.plugins.border import ClassAttributes, SourceFiles


@dataclass(frozen=True, slots=True)
class PluginDescriptor:
    """A plugin type of which instances can be made.

    ``live_hooks`` are the ``on_…`` hooks that it implements. ``origin`` says where it comes from: ``built in``,
    ``package foo 1.2`` or ``file plugins/beep.py``. ``attributes`` are the checked attributes of its class, and
    ``warnings`` its probable mistakes, each with its line.
    """

    name: str
    plugin_class: type[Plugin[Any]]
    config_model: type[PluginConfig]
    delivers: bool
    live_hooks: frozenset[str]
    origin: str
    source_files: SourceFiles = field(default_factory=SourceFiles)
    attributes: ClassAttributes = field(default_factory=ClassAttributes)
    warnings: tuple[str, ...] = ()

    @property
    def is_for_people(self) -> bool:
        """True if people read each notification: only for them a backlog becomes a summary."""
        return self.attributes.digest_over is not None

    def parallel(self, common: PluginConfig) -> int:
        """The number of deliveries that may run at a time at an instance with these settings."""
        return self.attributes.parallel if common.parallel is None else common.parallel

    def source_location(self, cls: type, attribute: str | None = None) -> str:
        """The source line that sets the attribute, as ``plugins/beep.py:9``; empty if unknown."""
        return self.source_files.defined_at(cls, attribute)

    def raised_at(self, error: BaseException) -> str:
        """The innermost source line of the plugin in the error's traceback; empty if unknown."""
        return self.source_files.raised_at(error)
