"""Finds plugins by name and imports only those that are looked up."""

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
from aintandem_notify.plugins.discovery.conventions import (
    check_module,
    class_warnings,
    config_model_of,
    implemented_hooks,
    plugin_class_of,
)
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
    "{}/{} was not loaded: it is code, and runs only with a config that you name; if you trust it, add the "
    "config's path to the command"
)
"""The error for a plugin file next to a config that the command line does not name."""


class FilePolicy(Enum):
    """The policy for plugins that are files: they are code, by anybody who can write to the folder."""

    IMPORT = auto()
    """Import it, as packages are."""
    REJECT = auto()
    """Raise an error that names it."""
    SKIP = auto()
    """Accept its tables unchecked; for commands that need no plugin."""


class Catalog:
    """The plugins that a config can name: entry points of installed packages and files in ``plugins_dir``.

    A plugin is imported by the first ``find``; a file that has changed since is imported again.
    ``file_policy`` decides about plugins that are files.
    """

    def __init__(
        self,
        entry_points: Callable[[], Sequence[EntryPoint]] = installed_entry_points,
        *,
        file_policy: FilePolicy = FilePolicy.IMPORT,
    ) -> None:
        self._entry_points = entry_points
        self._file_policy = file_policy
        self._imported: dict[Source, tuple[ModuleType, PluginDescriptor]] = {}
        self._latest: dict[str, PluginDescriptor] = {}

    def names(self, plugins_dir: Path) -> list[str]:
        """The names of all available plugins, sorted; imports none."""
        return sorted({point.name for point in self._entry_points()} | set(file_names(plugins_dir)))

    def find(self, name: str, plugins_dir: Path) -> PluginDescriptor:
        """The plugin called ``name``, imported and checked.

        Raises PluginError if there is none or more than one of this name, and for every problem in it.
        """
        source = self._source(name, plugins_dir)
        if isinstance(source, FileSource) and self._file_policy is not FilePolicy.IMPORT:
            self._latest[name] = self._not_imported(name, source)
            return self._latest[name]
        try:
            module = source.load()
        except ImportFailed as error:
            raise PluginError(name, str(error)) from None
        if (known := self._imported.get(source)) is None or known[0] is not module:
            known = self._imported[source] = (module, _inspect(name, source, module))
        self._latest[name] = known[1]
        return self._latest[name]

    def latest(self, name: str) -> PluginDescriptor:
        """The result of the last ``find`` of this name; raises PluginError if there was none."""
        try:
            return self._latest[name]
        except KeyError:
            raise PluginError(name, "no such plugin was looked up") from None

    def not_imported(self, plugins_dir: Path) -> dict[str, FileSource]:
        """The plugin files that ``find`` does not import, by plugin name."""
        if self._file_policy is FilePolicy.IMPORT:
            return {}
        sources = {name: self._sources(name, plugins_dir) for name in file_names(plugins_dir)}
        return {name: source for name, (source, *_) in sources.items() if isinstance(source, FileSource)}

    def _not_imported(self, name: str, source: FileSource) -> PluginDescriptor:
        if self._file_policy is FilePolicy.REJECT:
            raise PluginError(name, NOT_IMPORTED.format(source.path.parent.name, source.path.name))
        return PluginDescriptor(name, Plugin, _UncheckedConfig, True, frozenset(), source.origin)

    def _sources(self, name: str, plugins_dir: Path) -> list[Source]:
        return sources_of(name, tuple(self._entry_points()), plugins_dir)

    def _source(self, name: str, plugins_dir: Path) -> Source:
        match self._sources(name, plugins_dir):
            case [source]:
                return source
            case []:
                missing = f"no installed package offers it, and there is no file {plugins_dir}/{name}.py"
                raise PluginError(name, f"no such plugin: {missing}")
            case sources:
                origins = " and as ".join(source.origin for source in sources)
                raise PluginError(name, f"found more than once, as {origins}; rename or remove one")


class _UncheckedConfig(PluginConfig):
    """Accepts any table, for a plugin that was not imported."""

    model_config = ConfigDict(extra="ignore")


def _inspect(name: str, source: Source, module: ModuleType) -> PluginDescriptor:
    files = source.source_files()
    try:
        return _build_descriptor(name, source, module, files)
    except ConventionBroken as error:
        in_file = format_location(files.file, error.line)
        location = in_file if error.cls is None else files.defined_at(error.cls, error.attribute)
        raise PluginError(name, with_location(location, str(error))) from None
    except PluginUnusable as error:
        raise PluginError(name, with_location(format_location(files.file), error.reason)) from None
    except BaseException as error:  # inspecting a class may run plugin code
        if is_ctrl_c(error):
            raise
        raise PluginError(
            name, with_location(files.raised_at(error), f"cannot be used: {describe_error(error)}")
        ) from None


def _build_descriptor(name: str, source: Source, module: ModuleType, files: SourceFiles) -> PluginDescriptor:
    plugin_class = plugin_class_of(module)
    check_module(module)
    hooks = implemented_hooks(plugin_class)
    # pluggy checks the hooks too; its errors must come before anything runs.
    Registry().register(name, plugin_class)
    return PluginDescriptor(
        name=name,
        plugin_class=plugin_class,
        config_model=config_model_of(plugin_class),
        delivers="deliver" in hooks,
        live_hooks=frozenset(hook for hook in hooks if hook.startswith("on_")),
        origin=source.origin,
        source_files=files,
        attributes=read_class_attributes(plugin_class),
        warnings=tuple(
            with_location(files.defined_at(plugin_class, attribute), sentence)
            for attribute, sentence in class_warnings(plugin_class)
        ),
    )
