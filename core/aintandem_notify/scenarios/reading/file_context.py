"""The scenario file that is being read: its findings, its lines, and the configs that it names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from aintandem_notify.config import Config, ValidationContext
from aintandem_notify.config.findings import Finding, Place
from aintandem_notify.config.validation import validate
from aintandem_notify.plugins.discovery.catalog import Catalog
from aintandem_notify.scenarios.reading.configs import ConfigDocument, read_config

M = TypeVar("M", bound=BaseModel)


class FileContext:
    """One scenario file while it is read; collects the findings. ``line_of`` finds the line of a place.

    ``destinations`` are those of all configs so far.
    """

    def __init__(self, path: Path, catalog: Catalog, line_of: Callable[[Place], int | None]) -> None:
        self.path = path
        self.line_of = line_of
        self.findings: list[Finding] = []
        self.destinations: dict[str, None] = {}
        self._catalog = catalog
        self._context = ValidationContext(path.absolute().parent)
        self._document: ConfigDocument | None = None

    def validate(self, model: type[M], raw: object, place: Place) -> M | None:
        """``raw`` as ``model``; None if it adds findings."""
        table, findings = validate(model, raw, place, self._context)
        self.findings += findings
        return table

    def report(self, place: Place, sentence: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(place, sentence))

    def first_config(self, raw: str | dict[str, Any]) -> Config | None:
        """The config in another file, or in a table of this one; None if it adds findings.

        Raises ConfigError if the other file is wrong.
        """
        if isinstance(raw, str):
            return self._config_file(raw, ("config",))
        return self._use(ConfigDocument.of_table(raw, self.path, ("config",)))

    def next_config(self, raw: str | dict[str, Any], place: Place) -> Config | None:
        """As ``first_config``, for a reload: a table replaces tables of the config before."""
        if isinstance(raw, str) or self._document is None:
            return self._config_file(str(raw), place)
        return self._use(self._document.replaced(raw, place))

    def _config_file(self, name: str, place: Place) -> Config | None:
        path = self.path.parent / name
        if not path.is_file():
            self.report(place, f"there is no file {path}")
            return None
        return self._use(ConfigDocument.of_file(path))

    def _use(self, document: ConfigDocument) -> Config | None:
        config, findings = read_config(document, self._catalog)
        self.findings += findings
        if config is not None:
            self._document = document
            self.destinations |= {name: None for name, item in config.instances.items() if item.delivers}
        return config
