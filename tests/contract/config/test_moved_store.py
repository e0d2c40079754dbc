"""A config that was moved or renamed: the commands and the agent name its new store, and the one that it had."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from aintandem_notify.cli.main import commands
from aintandem_notify.config import NewStore, StoreConfig, new_store, note_config_path, state_file
from aintandem_notify.store import open_storage
from support.nasty.configs import ENVIRONMENTS

TEXT = '[orchestrator]\nurl = "http://127.0.0.1:9"\ntoken = "t"\n[[projects]]\nid = "p"\n'
COMMANDS = (("check",), ("status",), ("deliveries", "list"), ("destinations", "list"))


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def config_at(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT, encoding="utf-8")
    return path


async def used_config_at(path: Path, *, noted: bool = True) -> Path:
    """A config with which an agent has run; ``noted``: the agent was of this version."""
    config_at(path)
    async with open_storage(store_of(path)):
        pass
    if noted:
        note_config_path(path)
    return path


def store_of(config: Path) -> Path:
    return state_file(config, ".sqlite3")


def found(config: Path) -> NewStore | None:
    return new_store(config, StoreConfig(), embedded=False)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_name_the_store_that_the_next_agent_creates(tmp_path: Path, command: tuple[str, ...]) -> None:
    config = config_at(tmp_path / "config.toml")
    done = run(*command, config)
    assert f"a new store is created at {store_of(config)}" in " ".join(done.output.split())
    assert "older" not in done.output


@pytest.mark.parametrize("command", [*COMMANDS, ("check", "--json"), ("destinations", "list", "--json")])
@pytest.mark.parametrize("name", [name for name in ENVIRONMENTS if "HOME" in name or "state folder" in name])
def test_commands_say_a_sentence_whatever_the_home(tmp_path: Path, command: tuple[str, ...], name: str) -> None:
    config = config_at(tmp_path / "config.toml")
    done = CliRunner().invoke(
        commands, [*command, str(config)], env={"XDG_STATE_HOME": None, **ENVIRONMENTS[name]}
    )
    assert done.exit_code == (0 if command[0] == "check" else 1)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert done.output


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("new_name", ["moved/config.toml", "renamed.toml", "moved/renamed.toml"])
async def test_commands_name_the_store_of_a_moved_config(
    tmp_path: Path, command: tuple[str, ...], new_name: str
) -> None:
    old = await used_config_at(tmp_path / "config.toml")
    new = config_at(tmp_path / new_name)
    old.unlink()
    done = " ".join(run(*command, new).output.split())
    assert f"a new store is created at {store_of(new)}, but {store_of(old)} has older deliveries" in done
    assert f"(the config was at {old})" in done
    assert f'write url = "sqlite:///{store_of(old)}" under [store]' in done


async def test_the_advice_works(tmp_path: Path) -> None:
    old = await used_config_at(tmp_path / "config.toml")
    new = config_at(tmp_path / "renamed.toml")
    old.unlink()
    new.write_text(f'{TEXT}[store]\nurl = "sqlite:///{store_of(old)}"\n', encoding="utf-8")
    assert "new store" not in run("check", new).output
    listed = run("deliveries", "list", new)
    assert (listed.exit_code, listed.stderr) == (0, "no such deliveries\n")


async def test_the_store_of_another_config_is_not_named(tmp_path: Path) -> None:
    await used_config_at(tmp_path / "other" / "config.toml")
    config = config_at(tmp_path / "config.toml")
    assert found(config) == NewStore(store_of(config))


async def test_a_store_of_an_older_version_is_known_by_its_name_or_its_folder(tmp_path: Path) -> None:
    old = await used_config_at(tmp_path / "a" / "config.toml", noted=False)
    renamed = config_at(tmp_path / "a" / "renamed.toml")
    moved = config_at(tmp_path / "b" / "config.toml")
    stranger = config_at(tmp_path / "b" / "stranger.toml")
    assert found(renamed) == NewStore(store_of(renamed)), "its config is still there"
    old.unlink()
    assert found(renamed) == NewStore(store_of(renamed), store_of(old), old)
    assert found(moved) == NewStore(store_of(moved), store_of(old))
    assert found(stranger) == NewStore(store_of(stranger))


async def test_of_several_the_newest_is_named(tmp_path: Path) -> None:
    first, second = [await used_config_at(tmp_path / name / "config.toml") for name in "ab"]
    config = config_at(tmp_path / "config.toml")
    os.utime(store_of(second), (1, 1))
    first.unlink()
    second.unlink()
    new = found(config)
    assert new is not None
    assert new.older == store_of(first)


async def test_with_a_store_there_is_nothing_to_say(tmp_path: Path) -> None:
    old = await used_config_at(tmp_path / "config.toml")
    new = await used_config_at(tmp_path / "renamed.toml")
    old.unlink()
    assert found(new) is None


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "postgresql://db.example/notify"])
def test_other_stores_are_not_looked_for(tmp_path: Path, url: str) -> None:
    store = StoreConfig.model_validate({"url": url})
    assert new_store(config_at(tmp_path / "config.toml"), store, embedded=False) is None
    assert new_store(tmp_path / "config.toml", StoreConfig(), embedded=True) is None


def test_a_named_file_that_is_not_there_yet_is_new(tmp_path: Path) -> None:
    store = StoreConfig.model_validate({"url": f"sqlite:///{tmp_path}/state.db"})
    assert new_store(tmp_path / "config.toml", store, embedded=False) == NewStore(tmp_path / "state.db")


@pytest.mark.parametrize("name", [b"caf\xe9.toml", b"a\nb.toml", b"it's.toml", b"-x.toml"])
async def test_the_path_may_have_any_bytes(tmp_path: Path, name: bytes) -> None:
    old = await used_config_at(tmp_path / os.fsdecode(name))
    new = config_at(tmp_path / "config.toml")
    old.unlink()
    assert found(new) == NewStore(store_of(new), store_of(old), old)


def test_a_note_that_cannot_be_written_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/self")
    with capture_logs() as logs:
        note_config_path(tmp_path / "config.toml")
    assert logs == []
