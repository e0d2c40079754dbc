"""Folders and files of the agent, its commands and its plugins are for their owner only, with any umask."""

import ast
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from aintandem_notify.client import FileTokens, StoredTokens
from aintandem_notify.control.discovery import ControlEndpoint, publish_endpoint
from aintandem_notify.foundation.private_folders import make_folder
from aintandem_notify.init_wizard import Draft, write
from aintandem_notify.store import Store
from aintandem_notify_file_log.files import LogFile

REPOSITORY = Path(__file__).parents[3]
OTHERS = 0o077


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077, 0o177], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def control_file(folder: Path) -> None:
    with publish_endpoint(
        folder / "control.json", ControlEndpoint(address="http://127.0.0.1:1", token="t", pid=os.getpid())
    ):
        assert_private(folder)


def store(folder: Path) -> None:
    opened = Store(folder / "store.db", reserve_bytes=4096)
    with opened.transaction():
        assert_private(folder)  # with the files that the database keeps beside it
    opened.close()


def token_file(folder: Path) -> None:
    trio.run(FileTokens(folder / "tokens.json").save, StoredTokens("https://api.example", "eyJ", None))


def log_file(folder: Path) -> None:
    opened = LogFile(folder / "log.jsonl")
    opened.append(b"{}\n")
    opened.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def assert_private(folder: Path) -> None:
    created = [path for path in (folder, *folder.parents, *folder.rglob("*")) if "mine" in path.parts]
    assert [path for path in created if mode(path) & OTHERS] == []


@pytest.mark.parametrize("make", [control_file, store, token_file, log_file], ids=lambda make: make.__name__)
def test_created_folders_are_for_their_owner_only(
    make: Callable[[Path], None], umask: int, tmp_path: Path
) -> None:
    folder = tmp_path / "mine" / "in" / "here"
    make(folder)
    assert folder.is_dir()
    assert_private(folder)
    assert mode(folder) == mode(tmp_path / "mine") == 0o700


def test_files_that_init_writes_are_not_writable_for_others(umask: int, tmp_path: Path) -> None:
    draft = Draft("https://api.example", "admin", "geheim", [("*", "")], [])
    config, *secrets = sorted(write(draft, tmp_path / "config.toml"), key=lambda path: len(path.parts))
    assert config.name == "config.toml"
    assert mode(config) & 0o022 == 0
    assert secrets
    for secret in secrets:
        assert mode(secret) & OTHERS == mode(secret.parent) & OTHERS == 0


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_folder(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "file" / "folder")


def test_there_is_no_other_way_to_make_a_folder() -> None:
    makers = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("core", "plugins")
        for path in (REPOSITORY / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("mkdir", "makedirs")
    }
    assert makers == {"core/aintandem_notify/foundation/private_folders.py"}


@pytest.mark.skipif(sys.platform != "linux", reason="a folder of the system in which nothing can be made")
def test_a_folder_in_which_nothing_can_be_created_raises() -> None:
    with pytest.raises(FileNotFoundError):
        make_folder(Path("/proc/self/a/b"))
