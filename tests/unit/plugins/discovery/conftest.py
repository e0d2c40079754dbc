"""A folder of plugins, and a catalog that finds them."""

from pathlib import Path

import pytest

from aintandem_notify.plugins import Catalog
from support.plugin_files import Write


@pytest.fixture
def plugins_dir(tmp_path: Path) -> Path:
    """An empty folder for plugin files."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    return folder


@pytest.fixture
def write(plugins_dir: Path) -> Write:
    """Writes a plugin file."""

    def write(name: str, source: str) -> Path:
        path = plugins_dir / f"{name}.py"
        path.write_text(source, encoding="utf-8")
        return path

    return write


@pytest.fixture
def catalog() -> Catalog:
    """A catalog of a machine without installed plugins."""
    return Catalog(tuple)
