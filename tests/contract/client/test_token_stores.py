"""Files and keyrings that store the tokens of a login, also broken ones."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from aintandem_notify import FileTokens, KeyringTokens, MemoryTokens, StoredTokens, TokenStoreError
from aintandem_notify.simulator.simulation import Simulator
from support.clients import client_of, logged_in


async def test_a_file_stores_tokens_for_its_owner(simulator: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "new" / "tokens.json"
    async with logged_in(simulator, tokens=FileTokens(path)) as client:
        token = await client.auth.token()
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert list(path.parent.iterdir()) == [path], "nothing half written stays"
    async with client_of(simulator, tokens=FileTokens(path)) as client:
        assert await client.auth.token() == token
        await client.auth.logout()
        assert not path.exists()
    async with client_of(simulator, tokens=FileTokens(path)) as client:
        assert not client.auth.is_authenticated()


async def test_a_file_behind_a_link_is_written_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    await FileTokens(tmp_path / "link").save(StoredTokens("http://h", "T", None))
    assert (tmp_path / "link").is_symlink()
    assert await FileTokens(tmp_path / "real").load() == StoredTokens("http://h", "T", None)
    await FileTokens(tmp_path / "link").clear()
    assert not (tmp_path / "real").exists(), "the tokens are gone, not only the way to them"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"url": 1}',
        '{"url": "u", "token": null, "refreshToken": null}',
        "\udcff",
        "[" * 9999,
    ],
)
async def test_a_damaged_file_is_no_login(
    simulator: Simulator, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    path.chmod(0o600)
    async with client_of(simulator, tokens=FileTokens(path)) as client:
        assert not client.auth.is_authenticated()
    assert "cannot be read; a login is needed" in capsys.readouterr().err


async def test_a_file_that_others_may_read_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"url": "http://h", "token": "T", "refreshToken": None}), encoding="utf-8")
    path.chmod(0o644)
    assert await FileTokens(path).load() == StoredTokens("http://h", "T", None)
    assert "others may read the tokens" in capsys.readouterr().err


async def test_an_unreadable_store_raises_at_the_start(simulator: Simulator, tmp_path: Path) -> None:
    with pytest.raises(TokenStoreError, match=f"cannot read {tmp_path}: it is no regular file"):
        await client_of(simulator, tokens=FileTokens(tmp_path)).__aenter__()


@pytest.mark.skipif(os.name != "posix", reason="pipes with a name")
async def test_a_path_that_is_no_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link"):
        tokens = FileTokens(tmp_path / name)
        with pytest.raises(TokenStoreError, match=f"cannot write .*{name}: it is no regular file"):
            await tokens.save(StoredTokens("http://h", "T", None))
        with pytest.raises(TokenStoreError, match=f"cannot remove .*{name}: it is no regular file"):
            await tokens.clear()
        with pytest.raises(TokenStoreError, match=f"cannot read .*{name}: it is no regular file"):
            await tokens.load()
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()


async def test_a_failing_store_does_not_prevent_a_login(
    simulator: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    async with logged_in(simulator, tokens=FileTokens(tmp_path / "link")) as client:
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to(tmp_path / "link")
        await client.auth.refresh()
        assert await client.auth.verify()
    assert "the tokens could not be stored for the next start" in capsys.readouterr().err


class Odd:
    """A store that violates the protocol."""

    async def load(self) -> StoredTokens | None:
        return None

    async def save(self, tokens: StoredTokens) -> None:
        raise ZeroDivisionError(f"oh {tokens.token}")

    async def clear(self) -> None:
        raise ZeroDivisionError("no")


async def test_a_store_that_raises_hurts_only_itself(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    async with logged_in(simulator, tokens=Odd()) as client:
        token = await client.auth.token()
        with pytest.raises(TokenStoreError, match="the token store raised ZeroDivisionError: no"):
            await client.auth.logout()
        assert not client.auth.is_authenticated()
    message = capsys.readouterr().err
    assert "the token store raised ZeroDivisionError" in message
    assert token not in message


class Broken(MemoryTokens):
    """A store that raises the library's own error."""

    async def clear(self) -> None:
        raise TokenStoreError("no key for the safe") from OSError("gone")


async def test_an_error_of_the_stores_own_comes_out_as_it_is(simulator: Simulator) -> None:
    async with logged_in(simulator, tokens=Broken()) as client:
        with pytest.raises(TokenStoreError, match="no key for the safe") as raised:
            await client.auth.logout()
    assert isinstance(raised.value.__cause__, OSError)


async def test_a_keyring_stores_tokens(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")
    backend = pytest.importorskip("keyring.backend")

    class InMemory(backend.KeyringBackend):  # type: ignore[misc,name-defined]
        priority = 1

        def __init__(self) -> None:
            self.entries: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.entries.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.entries[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.entries[service, username]

    before, ring = keyring.get_keyring(), InMemory()
    keyring.set_keyring(ring)
    try:
        async with logged_in(simulator, tokens=KeyringTokens("tests", "ada")) as client:
            token = await client.auth.token()
        assert list(ring.entries) == [("tests", "ada")]
        async with client_of(simulator, tokens=KeyringTokens("tests", "ada")) as client:
            assert await client.auth.token() == token
            await client.auth.logout()
            assert ring.entries == {}
            await KeyringTokens("tests", "ada").clear()
    finally:
        keyring.set_keyring(before)


async def test_a_keyring_that_does_not_open() -> None:
    keyring = pytest.importorskip("keyring")
    fail = pytest.importorskip("keyring.backends.fail")
    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    try:
        with pytest.raises(TokenStoreError, match="cannot read the keyring's entry tests: NoKeyringError"):
            await KeyringTokens("tests").load()
    finally:
        keyring.set_keyring(before)


async def test_a_store_needs_none_of_the_threads_that_a_program_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: dict[str, str] = {}
    keyring = SimpleNamespace(
        get_password=lambda _service, name: stored.get(name),
        set_password=lambda _service, name, text: stored.__setitem__(name, text),
        delete_password=lambda _service, name: stored.pop(name),
    )
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    tokens = StoredTokens("http://h", "T", None)
    shared = trio.to_thread.current_default_thread_limiter()
    hanging = [object() for _ in range(int(shared.total_tokens))]
    for first_client in hanging:
        shared.acquire_on_behalf_of_nowait(first_client)
    with trio.fail_after(60):
        for store in (FileTokens(tmp_path / "t.json"), KeyringTokens()):
            await store.save(tokens)
            assert await store.load() == tokens
            await store.clear()
            assert await store.load() is None


def test_a_keyring_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    with pytest.raises(TokenStoreError, match=r"pip install 'aintandem-notify\[keyring\]'"):
        KeyringTokens()


def test_the_repr_of_a_store_names_its_place(tmp_path: Path) -> None:
    assert repr(FileTokens(tmp_path / "t.json")) == f"FileTokens({str(tmp_path / 't.json')!r})"
