"""Loads a draft as a configuration in memory, so that its errors show before anything is written."""

import os
from pathlib import Path

from aintandem_notify.config import ValidationContext
from aintandem_notify.config.load import read_document
from aintandem_notify.errors import ConfigError, Problem
from aintandem_notify.init_wizard.draft import Draft
from aintandem_notify.plugins.config_loading import LoadedConfig
from aintandem_notify.plugins.discovery.catalog import Catalog, FilePolicy
from aintandem_notify.rules import JinjaRuleLanguage, Router


def load_draft(draft: Draft, path: Path) -> LoadedConfig:
    """Returns the configuration that ``path`` would hold. Raises ConfigError with all its problems."""
    catalog = Catalog(file_policy=FilePolicy.REJECT)  # the plugins to pick from are installed
    context = ValidationContext(path.absolute().parent, os.environ, JinjaRuleLanguage())
    config, findings = read_document(draft.document(), path, context, catalog)
    if config is None:
        raise ConfigError([Problem(finding.message, finding.key) for finding in findings], str(path))
    return LoadedConfig(config, Router(config), catalog)


def first_problem(draft: Draft, path: Path) -> str | None:
    """Returns the draft's first problem as a sentence without secrets; None if it is valid."""
    try:
        load_draft(draft, path)
    except ConfigError as error:
        return error.problems[0].message
    return None
