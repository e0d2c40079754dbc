"""In a folder from somebody else, none of its code runs before the user has named its config."""

from pathlib import Path

import pytest

from aintandem_notify.simulator import open_simulator
from support.commands import run_command
from support.configs import CANARY, write_config

PLUGIN = """
from pathlib import Path
from aintandem_notify.api import Notification, Plugin, hookimpl

Path(__file__).with_suffix(".ran").touch()


class Trap(Plugin):
    @hookimpl
    def deliver(self, notification: Notification) -> None:
        pass
"""
LOOKS = [
    ("check",),
    ("check", "--connect"),
    ("plugins", "list"),
    ("plugins", "show", "trap.x"),
    ("schema",),
    ("status",),
    ("status", "--alive"),
    ("deliveries", "list"),
    ("destinations", "pause", "trap.x"),
    ("init", "--yes", "--url", "simulator", "--plugin", "console", "--force"),
    ("run", "--help"),
]


@pytest.fixture(params=["plugins", "elsewhere"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Creates the cloned folder: a config, and a plugin in the default folder or in one that the config names."""
    (tmp_path / request.param).mkdir()
    (tmp_path / request.param / "trap.py").write_text(PLUGIN)
    config = write_config(tmp_path, "http://127.0.0.1:1", "[plugins.trap.x]\ncolour = 5\n")
    text = config.read_text(encoding="utf-8").replace("colour = 5\n", "")
    if request.param != "plugins":
        text = f'plugins_dir = "{request.param}"\n{text}'
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    return tmp_path


def ran(folder: Path) -> bool:
    return bool(list(folder.rglob("*.ran")))


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
async def test_no_command_that_looks_runs_a_plugin_beside_a_config_that_was_not_named(
    folder: Path, command: tuple[str, ...]
) -> None:
    done = await run_command(*command, cwd=folder)
    assert not ran(folder)
    assert "Traceback" not in done.err


@pytest.mark.parametrize("config", [(), ("config.toml",)], ids=["implicit", "named"])
async def test_tail_needs_no_plugin_and_runs_none(folder: Path, config: tuple[str, ...]) -> None:
    path = folder / "config.toml"
    async with open_simulator(seed=1) as simulator:
        text = path.read_text(encoding="utf-8").replace("http://127.0.0.1:1", simulator.url)
        path.write_text(text.replace(CANARY, simulator.password), encoding="utf-8")
        task = simulator.tasks.submit("project-123", outcome="completed", seconds=0)
        await task.ended.wait()
        done = await run_command("tail", *config, "--task", task.id, cwd=folder)
    assert done.code == 0, done.err
    assert not ran(folder)


async def test_check_says_which_file_it_left_alone_and_what_to_do(folder: Path) -> None:
    done = await run_command("check", cwd=folder)
    assert done.code == 2
    assert "trap.py was not loaded: it is code" in done.err
    assert not ran(folder)
    named = await run_command("check", "config.toml", cwd=folder)
    assert (named.code, named.err) == (0, "")
    assert ran(folder)


async def test_plugins_list_names_the_file_and_loads_it_from_a_folder_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "trap.py").write_text(PLUGIN)
    done = await run_command("plugins", "list", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "file plugins/trap.py" in done.out
    assert "not loaded; if you trust it: --plugins-dir plugins" in done.out
    assert not ran(tmp_path)
    assert "deliver" in (await run_command("plugins", "list", "--plugins-dir", "plugins", cwd=tmp_path)).out
    assert ran(tmp_path)


async def test_schema_says_what_is_not_in_it(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "trap.py").write_text(PLUGIN)
    done = await run_command("schema", cwd=tmp_path)
    assert done.code == 0
    assert done.err == "plugins/trap.py is not in it: it is code; if you trust it, give --plugins-dir plugins\n"
    assert '"trap"' not in done.out
    assert not ran(tmp_path)


async def test_a_test_runs_what_is_there(folder: Path) -> None:
    done = await run_command("test", "trap.x", cwd=folder)
    assert done.code == 0
    assert ran(folder)
