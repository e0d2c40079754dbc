"""The JSON Schema in docs/ is up to date, and the example config refers to it."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path

from aintandem_notify.plugins import Catalog
from aintandem_notify.plugins.config_loading import config_schema
from aintandem_notify.plugins.discovery.sources import OWN_DISTRIBUTION, installed_entry_points

ROOT = Path(__file__).parents[2]


def built_in() -> list[EntryPoint]:
    """The plugins of this package, without other installed ones."""
    return [point for point in installed_entry_points() if point.dist and point.dist.name == OWN_DISTRIBUTION]


def test_the_committed_schema_is_fresh(tmp_path: Path) -> None:
    committed = (ROOT / "docs" / "config.schema.json").read_text(encoding="utf-8")
    generated = json.dumps(config_schema(tmp_path, Catalog(built_in)), indent=2) + "\n"
    assert committed == generated, "run: aintandem-notify schema > docs/config.schema.json"


def test_the_example_names_the_schema_where_it_is() -> None:
    first = (ROOT / "config.example.toml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("#:schema ")
    assert (ROOT / first.removeprefix("#:schema ")).samefile(ROOT / "docs" / "config.schema.json")
