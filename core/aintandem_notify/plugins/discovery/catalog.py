"""Finds plugins by name and imports those that are asked for, and only those."""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Final

from pydantic import ConfigDict

from aintandem_notify.api import Plugin
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.errors import PluginError
from aintandem_notify.foundation.signals import is_ctrl_c
from aintandem_notify.log import describe_error
from aintandem_notify.plugins.border import (
    ConventionBroken,
    PluginUnusable,
    SourceFiles,
    format_location,
    read_class_attributes,
    with_location,
)
from aintandem_notify.plugins.discovery.conventions import config_model_of, implemented_hooks, plugin_class_of
from aintandem_notify.plugins.discovery.descriptor import PluginDescriptor
from aintandem_notify.plugins.discovery.registry import Registry
from aintandem_notify.plugins.discovery.sources import (
    FileSource,
    ImportFailed,
    Source,
    file_names,
    installed_entry_points,
    sources_of,
)

NOT_IMPORTED: Final = (
    "{}/{} was not loaded: it is code, which runs only beside a config that you name; if you trust it, write the "
    "config's name behind the command"
)
"""Of a file that no named config vouches for."""


class FilePolicy(Enum):
    """What is done with a plugin that is a file: it is code, and whoever wrote the folder wrote it."""

    IMPORT = auto()
    """Import it, as packages are."""
    REJECT = auto()
    """Raise an error that names it."""
    SKIP = auto()
    """Accept its tables unchecked; for commands that need no plugin."""


class Catalog:
    """The plugins that a config can name: entry points of installed packages and files in ``plugins_dir``.

    A plugin is imported when it is first looked up; a file that has changed since is imported again. ``files``
    says whether files are imported at all.
    """

    def __init__(
        self,
        entry_points: Callable[[], Sequence[EntryPoint]] = installed_entry_points,
        *,
        file_policy: FilePolicy = FilePolicy.IMPORT,
    ) -> None:
        self._entry_points = entry_points
        self._file_policy = file_policy
        self._imported: dict[tuple[Source, str], PluginDescriptor] = {}
        self._latest: dict[str, PluginDescriptor] = {}

    def names(self, plugins_dir: Path) -> list[str]:
        """Every plugin that could be named, sorted; imports none."""
        return sorted({point.name for point in self._entry_points()} | set(file_names(plugins_dir)))

    def find(self, name: str, plugins_dir: Path) -> PluginDescriptor:
        """The plugin called ``name``, imported and checked.

        Raises PluginError when there is none, when there are several, or with what is wrong with it.
        """
        source = self._source(name, plugins_dir)
        if isinstance(source, FileSource) and self._file_policy is not FilePolicy.IMPORT:
            self._latest[name] = self._not_run(name, source)
            return self._latest[name]
        try:
            key = (source, source.fingerprint)
            if key not in self._imported:
                self._imported[key] = _inspect(name, source, source.load())
        except ImportFailed as error:
            raise PluginError(name, str(error)) from None
        self._latest[name] = self._imported[key]
        return self._latest[name]

    def latest(self, name: str) -> PluginDescriptor:
        """What the last ``find`` of this name gave; raises PluginError if there was none."""
        try:
            return self._latest[name]
        except KeyError:
            raise PluginError(name, "no such plugin was looked up") from None

    def not_imported(self, plugins_dir: Path) -> dict[str, FileSource]:
        """The files that ``find`` would not import, by the names of their plugins."""
        if self._file_policy is FilePolicy.IMPORT:
            return {}
        sources = {name: self._sources(name, plugins_dir) for name in file_names(plugins_dir)}
        return {name: one for name, (one, *_) in sources.items() if isinstance(one, FileSource)}

    def _not_run(self, name: str, source: FileSource) -> PluginDescriptor:
        if self._file_policy is FilePolicy.REJECT:
            raise PluginError(name, NOT_IMPORTED.format(source.path.parent.name, source.path.name))
        return PluginDescriptor(name, Plugin, _AnyConfig, True, frozenset(), source.origin)

    def _sources(self, name: str, plugins_dir: Path) -> list[Source]:
        return sources_of(name, tuple(self._entry_points()), plugins_dir)

    def _source(self, name: str, plugins_dir: Path) -> Source:
        match self._sources(name, plugins_dir):
            case [source]:
                return source
            case []:
                raise PluginError(
                    name, f"no such plugin: no installed package offers it, and {plugins_dir}/{name}.py is no file"
                )
            case several:
                origins = " and as ".join(source.origin for source in several)
                raise PluginError(name, f"found more than once, as {origins}; rename or remove one")


class _AnyConfig(PluginConfig):
    """The table of a plugin that nobody looked into."""

    model_config = ConfigDict(extra="ignore")


def _inspect(name: str, source: Source, module: ModuleType) -> PluginDescriptor:
    source_files = source.source_files()
    try:
        return _looked_at(name, source, module, source_files)
    except ConventionBroken as broken:
        place = (
            format_location(source_files.file)
            if broken.cls is None
            else source_files.defined_at(broken.cls, broken.attribute)
        )
        raise PluginError(name, with_location(place, str(broken))) from None
    except PluginUnusable as error:
        raise PluginError(name, with_location(format_location(source_files.file), error.reason)) from None
    except BaseException as error:  # classes, too, are code of the plugin
        if is_ctrl_c(error):
            raise
        raise PluginError(
            name, with_location(source_files.raised_at(error), f"cannot be used: {describe_error(error)}")
        ) from None


def _looked_at(name: str, source: Source, module: ModuleType, source_files: SourceFiles) -> PluginDescriptor:
    plugin_class = plugin_class_of(module)
    hooks = implemented_hooks(plugin_class)
    # pluggy has the last word on what it will take, before anything runs.
    Registry().register(name, plugin_class)
    return PluginDescriptor(
        name=name,
        plugin_class=plugin_class,
        config_model=config_model_of(plugin_class),
        delivers="deliver" in hooks,
        live_hooks=frozenset(hook for hook in hooks if hook.startswith("on_")),
        origin=source.origin,
        source_files=source_files,
        attributes=read_class_attributes(plugin_class),
    )
