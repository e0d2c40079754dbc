"""The recipes are played as they expect, and their page shows the configs of their files."""

import runpy
from pathlib import Path

import pytest

from aintandem_notify.config.load import load
from aintandem_notify.plugins import Catalog
from aintandem_notify.rules import JinjaRuleLanguage
from aintandem_notify.scenarios import run_file

DOCS = Path(__file__).parents[2] / "docs"
MAKER = runpy.run_path(str(DOCS / "make_recipes.py"))
PAGE = (DOCS / "recipes.md").read_text(encoding="utf-8")
FILES = sorted((DOCS / "recipes").glob("*.toml"))
DESTINATIONS = """
[plugins.slack.team]
webhook_url = "https://hooks.slack.example/a"
[plugins.slack.ops]
webhook_url = "https://hooks.slack.example/b"
[plugins.slack.lead]
webhook_url = "https://hooks.slack.example/d"
[plugins.slack.sales]
webhook_url = "https://hooks.slack.example/c"
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_goes_as_it_expects(path: Path) -> None:
    result = run_file(path, Catalog())
    assert result.error is None
    assert result.played is not None
    assert result.played.failures == ()
    assert result.played.timeline.notified, "a recipe shows a message"


def test_the_page_shows_the_configs_of_the_files() -> None:
    assert MAKER["make"](PAGE) == PAGE, "run python docs/make_recipes.py"


def test_the_page_has_every_recipe_once() -> None:
    assert sorted(MAKER["names"](PAGE)) == [path.stem for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_is_right_in_a_config_of_its_own(path: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    recipe = MAKER["config_of"](path.read_text(encoding="utf-8"))
    config.write_text(
        f'[orchestrator]\nurl = "simulator"\n[[projects]]\nid = "*"\n{recipe}\n{DESTINATIONS}', encoding="utf-8"
    )
    loaded = load(config, catalog=Catalog(), language=JinjaRuleLanguage())
    assert len(loaded.rules) >= 1
