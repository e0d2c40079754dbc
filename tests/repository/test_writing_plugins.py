"""The page on writing plugins is correct: its plugins load, its config is valid, its tests pass."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trio
from outcome import Value

from aintandem_notify import config
from aintandem_notify.api import Rate, Severity
from aintandem_notify.errors import ConfigError
from aintandem_notify.hookspecs import PROJECT
from aintandem_notify.plugins import Catalog, PluginHost
from aintandem_notify.plugins.discovery.conventions import HOOK_ARGUMENTS
from aintandem_notify.rules import JinjaRuleLanguage
from support.hosting import hosting, notification

PAGE = (Path(__file__).parents[2] / "docs" / "writing-plugins.md").read_text(encoding="utf-8")
FILES = {
    match[2]: match[0].removeprefix(f"```{match[1]}\n").removesuffix("```")
    for match in re.finditer(r"```(python|toml)\n# (\S+)\n.*?```", PAGE, re.DOTALL)
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with every file of the page."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_every_example_is_a_file() -> None:
    assert len(FILES) == PAGE.count("```") // 2
    assert set(FILES) == {
        "plugins/beep.py",
        "plugins/chime.py",
        "plugins/pager.py",
        "config.toml",
        "pyproject.toml",
        "test_beep.py",
        "test_pager.py",
    }


def test_its_config_is_valid(folder: Path) -> None:
    loaded = config.load(folder / "config.toml", catalog=Catalog(), language=JinjaRuleLanguage(), environ={})
    assert list(loaded.instances) == ["beep.desk"]


async def test_its_first_plugin_beeps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beep = Catalog(tuple).find("beep", folder / "plugins")
    async with hosting(beep=beep.plugin_class) as bench:
        host: PluginHost = bench.host
        assert await host.deliver(await bench.start("beep", times=3), [notification()]) == [Value(None)]
    assert "\a\a\atask 1 failed\n" in capsys.readouterr().out


CHIMES = 'orchestrator.url = "simulator"\n[[projects]]\nid = "*"\n[plugins.chime.x]\n'


def load_chimes(folder: Path) -> config.Config:
    """A config with an instance of ``plugins/chime.py``."""
    path, environ = folder / "config.toml", {"CHIME_TOKEN": "not-a-real-token"}
    path.write_text(CHIMES)
    return config.load(path, catalog=Catalog(tuple), language=JinjaRuleLanguage(), environ=environ)


def test_its_defaults_are_read_as_the_config_would_be(folder: Path) -> None:
    settings = load_chimes(folder).instances["chime.x"].common
    assert (settings.rate, settings.max_age, settings.timeout) == (Rate(1, 1.0), 3600.0, 5.0)
    assert settings.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            'rate: Rate | None = "1/s"',
            'rate: Rate | None = "often"',
            "plugins/chime.py:6: rate: not a rate; write it as",
        ),
        ("def deliver", "def delivr", "plugins/chime.py:15: delivr is no hook; did you mean deliver?"),
        (
            "    @hookimpl\n",
            "",
            "plugins/chime.py:14: deliver is the name of a hook: add @hookimpl, or call it something else",
        ),
        (
            "    @hookimpl\n",
            "    in_flight = 0\n\n    @hookimpl\n",
            "plugins/chime.py:14: in_flight: should be a whole number from 1 to 1000, not 0",
        ),
    ],
)
def test_the_page_quotes_the_error_for_a_mistake(folder: Path, right: str, wrong: str, message: str) -> None:
    path = folder / "plugins" / "chime.py"
    path.write_text(path.read_text().replace(right, wrong))
    with pytest.raises(ConfigError) as caught:
        load_chimes(folder)
    assert message in str(caught.value)
    assert re.sub(r"\w+\.py:\d+", "", message).strip("plugins/: ") in re.sub(r"\s+", " ", PAGE)


def test_its_large_plugin_shows_every_kind_of_hook(folder: Path) -> None:
    pager = Catalog(tuple).find("pager", folder / "plugins")
    assert pager.delivers
    assert pager.live_hooks == {"on_task_event"}
    assert {"url", "token"} <= set(pager.config_model.model_fields)


def test_every_hook_is_in_its_table() -> None:
    missing = [hook for hook in HOOK_ARGUMENTS if f"`{hook}(" not in PAGE]
    assert missing == []


def test_its_package_offers_its_plugin_where_we_look() -> None:
    assert tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"] == {
        PROJECT: {"pager": "aintandem_notify_pager"}
    }


async def test_its_tests_pass(folder: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "trio_mode=true"]
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = plugins\n", encoding="utf-8")
    done = await trio.run_process(
        [*command, str(folder)], cwd=folder, check=False, capture_stdout=True, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout.decode()
    assert "3 passed" in done.stdout.decode()
