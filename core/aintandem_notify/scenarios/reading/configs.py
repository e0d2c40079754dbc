"""Reads the config of a scenario. Nothing is sent, so its secrets need not exist here."""

import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aintandem_notify.config import Config, ValidationContext
from aintandem_notify.config.findings import Finding, Place
from aintandem_notify.config.load import parse, read_document, read_text, to_problems
from aintandem_notify.config.types.addresses import SIMULATOR
from aintandem_notify.config.types.secret import Secret
from aintandem_notify.errors import ConfigError
from aintandem_notify.plugins.discovery.catalog import Catalog
from aintandem_notify.rules import JinjaRuleLanguage

PLACEHOLDERS: Final = (
    "https://placeholder.invalid/aintandem-notify",
    "whsec_YWludGFuZGVtLW5vdGlmeS1wbGFjZWhvbGRlcg==",
    "xoxb-aintandem-notify-placeholder",
)
"""Secrets that take the place of missing ones: the first that the table accepts."""


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """A config as parsed TOML: from a file of its own, or from a table of the scenario at ``place``."""

    tables: Mapping[str, Any]
    source: Path
    place: Place | None

    @classmethod
    def of_file(cls, path: Path) -> "ConfigDocument":
        """The config in the file. Raises ConfigError."""
        return cls(parse(read_text(path), path), path, None)

    @classmethod
    def of_table(cls, tables: Mapping[str, Any], source: Path, place: Place) -> "ConfigDocument":
        """The config in a table. It may leave out its orchestrator and projects: then it watches all projects."""
        usual = {"orchestrator": {"url": SIMULATOR}, "projects": [{"id": "*"}]}
        return cls({**usual, **tables}, source, place)

    def replaced(self, tables: Mapping[str, Any], place: Place) -> "ConfigDocument":
        """A copy with these tables in place of those with the same names."""
        return ConfigDocument({**self.tables, **tables}, self.source, place)


def read_config(document: ConfigDocument, catalog: Catalog) -> tuple[Config | None, list[Finding]]:
    """The config, or None and the findings about the table of the scenario.

    Raises ConfigError if it is in a file of its own and wrong.
    """
    context = ValidationContext(document.source.absolute().parent, os.environ, JinjaRuleLanguage())
    config, findings = _read_with_placeholders(document, context, catalog)
    if config is None and document.place is None:
        raise ConfigError(to_problems(findings, read_text(document.source)), str(document.source))
    place = document.place or ()
    return config, [Finding(place + finding.place, finding.message) for finding in findings]


def _read_with_placeholders(
    document: ConfigDocument, context: ValidationContext, catalog: Catalog
) -> tuple[Config | None, list[Finding]]:
    tables = deepcopy(dict(document.tables))
    unread = dict(_unread_secrets((), tables, context))
    refused = list(unread)
    others: list[Finding] = []
    for placeholder in PLACEHOLDERS:
        for place in refused:
            _put(tables, place, placeholder)
        config, findings = read_document(tables, document.source, context, catalog)
        by_secret = {place: [finding for finding in findings if _is_about(finding, place)] for place in unread}
        refused = [place for place in unread if by_secret[place]]
        others = [finding for finding in findings if not any(finding in about for about in by_secret.values())]
        if config is not None or not refused:
            return config, findings
    return None, others + [
        Finding(place, f"{unread[place]}, and no placeholder will do: set it to any value that is accepted")
        for place in refused
    ]


def _is_about(finding: Finding, place: Place) -> bool:
    """True if the finding is about the value at ``place``, or about a table around it."""
    return bool(finding.place) and place[: len(finding.place)] == finding.place


def _unread_secrets(place: Place, value: object, context: ValidationContext) -> Iterator[tuple[Place, str]]:
    """The places of ``{ env = … }`` and ``{ file = … }`` that cannot be read, each with the reason."""
    match value:
        case {"env": str(), **others} | {"file": str(), **others} if not others:
            try:
                Secret.read(value, context)
            except ValueError as error:
                yield place, str(error)
        case Mapping():
            for key, item in value.items():
                yield from _unread_secrets((*place, str(key)), item, context)
        case list():
            for index, item in enumerate(value):
                yield from _unread_secrets((*place, index), item, context)


def _put(tables: Any, place: Place, value: str) -> None:
    for part in place[:-1]:
        tables = tables[part]
    tables[place[-1]] = value
