"""Loads a config file and checks it against the installed plugins and the language of rules."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aintandem_notify import config as configuration
from aintandem_notify.config import Config
from aintandem_notify.config.secret_warnings import secret_warnings
from aintandem_notify.errors import PluginError, Problem
from aintandem_notify.plugins.discovery.catalog import Catalog, FilePolicy
from aintandem_notify.plugins.discovery.sources import prints_to_stderr
from aintandem_notify.rules import JinjaRuleLanguage, Router, misread_durations
from aintandem_notify.stages.descriptions import stage_warnings
from aintandem_notify.watches.descriptions import watch_warnings


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration, its rules ready to route, and the plugins it names imported."""

    config: Config
    router: Router
    catalog: Catalog

    def warnings(self) -> list[Problem]:
        """Probable mistakes that are no errors, those with a line first."""
        findings = [*secret_warnings(self.config), *misread_durations(self.config)]
        located = configuration.locate(findings, self.config.source)
        types = dict.fromkeys(instance.type for instance in self.config.instances.values())
        of_plugins = [sentence for type_ in types for sentence in self.catalog.latest(type_).warnings]
        of_rules = [*self.router.warnings(), *stage_warnings(self.config), *watch_warnings(self.config)]
        return [*located, *map(Problem, [*of_plugins, *of_rules])]


def load(
    source: Path, environ: Mapping[str, str] = os.environ, *, file_policy: FilePolicy = FilePolicy.IMPORT
) -> LoadedConfig:
    """Read ``source`` and the files that it names; raises ConfigError with all problems.

    ``file_policy`` decides about plugins that are files in its ``plugins_dir``.
    """
    catalog = Catalog(file_policy=file_policy)
    config = configuration.load(source, catalog=catalog, language=JinjaRuleLanguage(), environ=environ)
    return LoadedConfig(config, Router(config), catalog)


def config_schema(plugins_dir: Path, catalog: Catalog | None = None) -> dict[str, Any]:
    """The JSON Schema of the whole configuration, with every plugin type that can be imported here."""
    catalog = catalog or Catalog()
    types = []
    with prints_to_stderr():
        for name in catalog.names(plugins_dir):
            try:
                types.append(catalog.find(name, plugins_dir))
            except PluginError:
                continue  # one broken plugin must not prevent a schema of the others
        return configuration.json_schema(types)
