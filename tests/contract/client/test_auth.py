"""Login with the library: the user, stored tokens, and no token in any output."""

import asyncio
import inspect
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from aintandem_notify import (
    AInTandemClient,
    AuthenticationFailed,
    ConfigError,
    Disconnected,
    FileTokens,
    HttpFailed,
    KeyringTokens,
    MemoryTokens,
    NotLoggedIn,
    ServerTrouble,
    StoredTokens,
    TokenStoreError,
    User,
)
from aintandem_notify.client.validation import RULES
from aintandem_notify.log import redact
from aintandem_notify.orchestrator.auth.token_store import SAVE_TIMEOUT_S
from aintandem_notify.simulator.simulation import Simulator
from support.clients import client_of, logged_in
from support.raw_orchestrator import RawOrchestrator, RestAnswer, make_token, open_raw_orchestrator


@pytest.fixture
async def raw() -> AsyncIterator[RawOrchestrator]:
    async with open_raw_orchestrator() as server:
        yield server


def paths(raw: RawOrchestrator) -> list[str]:
    return [request.path.removeprefix("/api") for request in raw.requests]


async def test_a_login_and_all_that_is_known_of_it(simulator: Simulator) -> None:
    async with client_of(simulator) as client:
        assert not client.auth.is_authenticated()
        assert not await client.auth.verify()
        assert await client.auth.login("admin", "admin123") == User("admin", "1")
        assert client.auth.is_authenticated()
        assert await client.auth.verify()
        first = await client.auth.token()
        assert client.auth.token_expires_at is not None
        await client.auth.refresh()
        assert await client.auth.token() != first
        await client.auth.logout()
        assert not client.auth.is_authenticated()
        assert client.auth.token_expires_at is None
        with pytest.raises(NotLoggedIn, match=r"call client\.auth\.login first"):
            await client.auth.token()
        assert simulator.tokens.user_of(first) is None, "the orchestrator was told"


async def test_before_a_login_no_request_is_sent(raw: RawOrchestrator) -> None:
    async with client_of(raw) as client:
        for ask in (client.auth.token, client.auth.refresh, client.projects.list):
            with pytest.raises(NotLoggedIn):
                await ask()
        with pytest.raises(NotLoggedIn):
            await client.progress.connect("p")
        await client.auth.logout()
    assert raw.requests == raw.upgrades == []


async def test_a_wrong_password_is_refused_and_the_right_one_is_tried_at_once(simulator: Simulator) -> None:
    async with client_of(simulator) as client:
        for _ in range(3):
            with pytest.raises(AuthenticationFailed, match="invalid username or password"):
                await client.auth.login("admin", "wrong")
        assert not client.auth.is_authenticated()
        await client.auth.login("admin", "admin123")
        with pytest.raises(AuthenticationFailed):
            await client.auth.login("admin", "wrong")
        assert await client.auth.verify(), "the login before stays"


@pytest.mark.parametrize(
    ("answer", "user"),
    [
        ({}, User("admin")),
        ({"user": {"id": 7, "username": "Admin"}}, User("Admin", "7")),
        ({"user": "admin"}, User("admin")),
        ({"user": {"username": None}}, User("admin")),
    ],
)
async def test_the_user_has_the_fields_of_the_response(
    raw: RawOrchestrator, answer: dict[str, object], user: User
) -> None:
    raw.rest["POST /api/auth/login"] = {"success": True, "token": "T"} | answer
    async with client_of(raw) as client:
        assert await client.auth.login("admin", "x") == user


async def test_server_trouble_and_no_server(raw: RawOrchestrator) -> None:
    async with client_of(raw) as client:
        raw.rest["POST /api/auth/login"] = RestAnswer({"error": "busy"}, 503)
        with pytest.raises(ServerTrouble):
            await client.auth.login("admin", "admin123")
        await raw.go_away()
        with pytest.raises(HttpFailed):
            await client.auth.login("admin", "admin123")


async def test_a_request_that_is_not_answered_is_given_up(
    raw: RawOrchestrator, mock_clock: trio.testing.MockClock
) -> None:
    raw.rest["POST /api/projects/p/tasks"] = RestAnswer(b"x", headers={"Content-Length": "1000"})
    async with logged_in(raw, request_timeout=5.0) as client, trio.open_nursery() as nursery:

        async def wait_too_long() -> None:
            await arrived(raw, "/projects/p/tasks")
            mock_clock.jump(5.0)

        nursery.start_soon(wait_too_long)
        with pytest.raises(HttpFailed) as failed:
            await client.tasks.execute_task("p", "x")
        assert failed.value.maybe_sent


async def test_a_token_that_was_given(simulator: Simulator) -> None:
    token = simulator.tokens.login("admin").token
    async with client_of(simulator, token=token) as client:
        assert client.auth.is_authenticated()
        assert len(await client.projects.list()) == 2
        assert await client.auth.token() == token
        simulator.expire_tokens()
        with pytest.raises(AuthenticationFailed, match="refused the token that it was given"):
            await client.projects.list()


async def test_a_bare_server_is_found(raw: RawOrchestrator) -> None:
    raw.prefixes = ("",)
    async with logged_in(raw) as client:
        await client.projects.list()
    assert paths(raw) == ["/auth/login", "/auth/login", "/projects"]


# Stored tokens.


async def test_the_next_start_uses_the_stored_token(simulator: Simulator) -> None:
    tokens = MemoryTokens()
    async with logged_in(simulator, tokens=tokens) as client:
        token = await client.auth.token()
    async with client_of(simulator, tokens=tokens) as client:
        assert client.auth.is_authenticated()
        assert await client.auth.token() == token
        assert len(await client.projects.list()) == 2


async def test_an_expired_stored_token_is_refreshed(raw: RawOrchestrator) -> None:
    tokens = MemoryTokens()
    async with logged_in(raw, tokens=tokens):
        pass
    await tokens.save(StoredTokens(raw.url, make_token(9, -5), "refresh-1"))
    async with client_of(raw, tokens=tokens) as client:
        assert client.auth.is_authenticated()
        await client.projects.list()
        assert paths(raw)[1:] == ["/auth/refresh", "/projects"]
    stored = await tokens.load()
    assert stored is not None
    assert stored.refresh_token == "refresh-2", "the new one replaces the old one, which is used up"


async def test_a_refused_stored_token_is_refreshed(simulator: Simulator) -> None:
    tokens = MemoryTokens()
    async with logged_in(simulator, tokens=tokens):
        pass
    simulator.expire_tokens()
    async with client_of(simulator, tokens=tokens) as client:
        assert len(await client.projects.list()) == 2


async def test_a_login_that_has_ended_raises_and_is_forgotten(simulator: Simulator) -> None:
    tokens = MemoryTokens()
    async with logged_in(simulator, tokens=tokens):
        pass
    simulator.expire_tokens(refresh_tokens=True)
    async with client_of(simulator, tokens=tokens) as client:
        with pytest.raises(AuthenticationFailed, match="the login has ended; log in again"):
            await client.projects.list()
        assert not client.auth.is_authenticated()
        assert await tokens.load() is None
        assert not await client.auth.verify()
        await client.auth.login("admin", "admin123")
        assert len(await client.projects.list()) == 2


async def test_asking_whether_a_login_is_good_when_it_has_ended(simulator: Simulator) -> None:
    tokens = MemoryTokens()
    await tokens.save(StoredTokens(simulator.url, make_token(1, -5), "unknown"))
    async with client_of(simulator, tokens=tokens) as client:
        assert client.auth.is_authenticated(), "as far as is known without asking"
        assert not await client.auth.verify()
        assert not client.auth.is_authenticated()


async def test_a_login_outlives_a_refresh_that_met_trouble(raw: RawOrchestrator) -> None:
    tokens = MemoryTokens()
    await tokens.save(StoredTokens(raw.url, make_token(9, -5), "refresh-0"))
    raw.rest["POST /api/auth/refresh"] = RestAnswer({"error": "busy"}, 503)
    async with client_of(raw, tokens=tokens) as client:
        with pytest.raises(ServerTrouble):
            await client.auth.token()
        assert client.auth.is_authenticated()
    stored = await tokens.load()
    assert stored is not None
    assert stored.refresh_token == "refresh-0"


async def test_two_programs_share_a_login(simulator: Simulator) -> None:
    """If two clients refresh, only one succeeds; the other uses the tokens that the first has stored."""
    tokens = MemoryTokens()
    async with logged_in(simulator, tokens=tokens):
        pass
    async with (
        client_of(simulator, tokens=tokens) as first_client,
        client_of(simulator, tokens=tokens) as second_client,
    ):
        simulator.expire_tokens()
        await first_client.projects.list()
        assert len(await second_client.projects.list()) == 2
        assert await first_client.auth.token() == await second_client.auth.token()


async def test_tokens_go_to_their_own_server_only(raw: RawOrchestrator) -> None:
    tokens = MemoryTokens()
    await tokens.save(StoredTokens("https://elsewhere.example", "secret-of-elsewhere", "r"))
    async with client_of(raw, tokens=tokens) as client:
        assert not client.auth.is_authenticated()
        with pytest.raises(NotLoggedIn):
            await client.auth.token()
    assert raw.requests == []


async def test_a_cancelled_logout_clears_the_store(simulator: Simulator) -> None:
    tokens = MemoryTokens()
    async with logged_in(simulator, tokens=tokens) as client:
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.auth.logout()
        assert await tokens.load() is None


async def arrived(raw: RawOrchestrator, path: str) -> None:
    """Wait for a request to ``path``."""
    while path not in paths(raw):
        await trio.testing.wait_all_tasks_blocked(0.01)


async def test_the_response_to_a_cancelled_refresh_is_stored(
    raw: RawOrchestrator, mock_clock: trio.testing.MockClock
) -> None:
    """The old refresh token is used up, so the response to the cancelled call must be stored. It comes at once."""
    tokens, answered = MemoryTokens(), trio.Event()
    async with logged_in(raw, tokens=tokens):
        pass
    async with client_of(raw, tokens=tokens) as client, trio.open_nursery() as nursery:
        raw.delays["POST /api/auth/refresh"] = answered
        scope = trio.CancelScope()

        async def give_up() -> None:
            with scope:
                await client.auth.refresh()

        nursery.start_soon(give_up)
        await arrived(raw, "/auth/refresh")
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        answered.set()
        await client.auth.refresh()
        assert scope.cancelled_caught
        assert len(raw.refreshes) == 1, "whoever asks meanwhile gets the same"
        token = await client.auth.token()
        await client.auth.refresh()
        assert [body["refreshToken"] for body in raw.refreshes] == ["refresh-1", "refresh-2"]
        assert await client.auth.token() != token
    stored = await tokens.load()
    assert stored is not None
    assert stored.refresh_token == "refresh-3"


@pytest.mark.parametrize("trouble", [RestAnswer({"error": "busy"}, 503), RestAnswer({"error": "no"}, 401)])
async def test_a_cancelled_refresh_may_fail(raw: RawOrchestrator, trouble: RestAnswer) -> None:
    """No caller is left to raise in, and no other error escapes."""
    answered = trio.Event()
    async with logged_in(raw) as client, trio.open_nursery() as nursery:
        raw.delays["POST /api/auth/refresh"] = answered
        raw.rest["POST /api/auth/refresh"] = trouble

        async def give_up() -> None:
            with scope:
                await client.auth.refresh()

        scope = trio.CancelScope()
        nursery.start_soon(give_up)
        await arrived(raw, "/auth/refresh")
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        answered.set()
        assert await client.auth.verify()


async def test_a_server_that_hangs_does_not_delay_cancellation(
    raw: RawOrchestrator, mock_clock: trio.testing.MockClock
) -> None:
    tokens = MemoryTokens()
    await tokens.save(StoredTokens(raw.url, make_token(9, -5), "refresh-0"))
    raw.delays["POST /api/auth/refresh"] = trio.Event()
    async with client_of(raw, tokens=tokens) as client, trio.open_nursery() as nursery:
        ended: list[float] = []

        async def give_up() -> None:
            with trio.move_on_after(2) as scope:
                await client.auth.token()
            assert scope.cancelled_caught
            ended.append(trio.current_time())

        nursery.start_soon(give_up)
        await arrived(raw, "/auth/refresh")
        for seconds in (2, SAVE_TIMEOUT_S - 1):
            mock_clock.jump(seconds)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not ended
        mock_clock.jump(1)
    assert ended == [2 + SAVE_TIMEOUT_S]


@pytest.mark.parametrize("trouble", [RestAnswer({"error": "busy"}, 503), None])
async def test_a_refresh_that_meets_trouble_costs_no_token_that_is_good(
    raw: RawOrchestrator, trouble: RestAnswer | None
) -> None:
    async with logged_in(raw) as client:
        token = await client.auth.token()
        if trouble is None:
            await raw.go_away()
        raw.rest["POST /api/auth/refresh"] = trouble
        with pytest.raises((ServerTrouble, HttpFailed)):
            await client.auth.refresh()
        raw.come_back()
        assert await client.auth.token() == token
        assert client.auth.is_authenticated()
        await client.projects.list()
        assert raw.requests[-1].headers["authorization"] == f"Bearer {token}"


async def test_a_refused_refresh_leaves_a_token_that_is_good(raw: RawOrchestrator) -> None:
    tokens = MemoryTokens()
    async with logged_in(raw, tokens=tokens):
        pass
    async with client_of(raw, tokens=tokens) as client:
        token = await client.auth.token()
        raw.rest["POST /api/auth/refresh"] = RestAnswer({"error": "no"}, 401)
        with pytest.raises(AuthenticationFailed, match="the login has ended"):
            await client.auth.refresh()
        assert client.auth.is_authenticated()
        assert await client.auth.verify()
        assert await client.auth.token() == token


async def test_one_refresh_after_another(raw: RawOrchestrator) -> None:
    async with logged_in(raw) as client:
        tokens_seen = {await client.auth.token()}
        for _ in range(3):
            await client.auth.refresh()
            tokens_seen.add(await client.auth.token())
        assert len(tokens_seen) == 4
        assert (len(raw.logins), len(raw.refreshes)) == (1, 3)


async def test_a_token_that_was_given_cannot_be_refreshed(raw: RawOrchestrator) -> None:
    async with client_of(raw, token="T") as client:
        with pytest.raises(AuthenticationFailed, match="a token that was given cannot be renewed"):
            await client.auth.refresh()
        assert await client.auth.token() == "T"


async def test_a_program_waits_for_tokens_that_another_is_about_to_store(simulator: Simulator) -> None:
    class Slow(MemoryTokens):
        """A store that replaces tokens only after another ``load``."""

        saving: bool = False
        looked = trio.Event()

        async def load(self) -> StoredTokens | None:
            if self.saving:
                self.looked.set()
            return await super().load()

        async def save(self, tokens: StoredTokens) -> None:
            self.saving = await self.load() is not None
            if self.saving:
                await self.looked.wait()
            await super().save(tokens)

    tokens = Slow()
    async with logged_in(simulator, tokens=tokens):
        pass
    async with (
        client_of(simulator, tokens=tokens) as first_client,
        client_of(simulator, tokens=tokens) as second_client,
    ):
        simulator.expire_tokens()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first_client.projects.list)
            nursery.start_soon(second_client.projects.list)
        assert await first_client.auth.token() == await second_client.auth.token()


async def test_a_logout_clears_the_store(raw: RawOrchestrator) -> None:
    tokens = MemoryTokens()
    async with logged_in(raw, tokens=tokens):
        pass
    async with client_of(raw, tokens=tokens) as client:
        await client.auth.logout()
        assert paths(raw)[-1] == "/auth/logout"
    assert await tokens.load() is None


async def test_a_logout_closes_the_sockets(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        await client.progress.connect("project-123")
        await client.auth.logout()
        assert not client.progress.is_connected("project-123")
        await simulator.wait_unsubscribed("project-123")


# Files.


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


# Keyrings.


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


# Secrets, settings, and the block.


async def test_no_token_and_no_password_shows(raw: RawOrchestrator, capsys: pytest.CaptureFixture[str]) -> None:
    raw.rest["POST /api/auth/login"] = {
        "success": True,
        "token": "canary-access",
        "refreshToken": "canary-refresh",
    }
    raw.rest["GET /api/projects"] = RestAnswer({"error": "no good: canary-access canary-refresh"}, 400)
    tokens = MemoryTokens()
    async with client_of(raw, tokens=tokens) as client:
        await client.auth.login("admin", "canary-password")
        stored = await tokens.load()
        with pytest.raises(Exception, match="no good") as refused:
            await client.projects.list()
        texts = [repr(client), repr(client.auth), repr(stored), str(refused.value), repr(refused.value)]
    texts += capsys.readouterr()
    assert "canary" not in "".join(texts)
    assert redact("canary-access, canary-refresh, canary-password") == "[redacted], [redacted], [redacted]"


SECONDS = "should be a number of seconds above 0"
COUNT = "should be a whole number of at least 0"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "localhost:9900"}, "base_url: should begin with http:// or https://"),
        ({"base_url": "simulator"}, "base_url: should begin with http:// or https://"),
        ({"base_url": None}, "base_url: should begin with http:// or https://"),
        ({"base_url": "http://"}, "base_url: should begin with http:// or https://"),
        ({"base_url": "http://u:canary@h"}, "base_url: should not hold a login; call client.auth.login"),
        ({"base_url": "http://h/?a=1"}, "base_url: should end before the ? or #; the API's paths are added to it"),
        ({"reconnect_attempts": -1}, f"reconnect_attempts: {COUNT}, or None for no limit"),
        ({"reconnect_attempts": "unlimited"}, f"reconnect_attempts: {COUNT}, or None for no limit"),
        ({"reconnect_attempts": True}, f"reconnect_attempts: {COUNT}, or None for no limit"),
        ({"connect_timeout": 0}, f"connect_timeout: {SECONDS}"),
        ({"connect_timeout": "500ms"}, f"connect_timeout: {SECONDS}"),
        ({"request_timeout": "5"}, f"request_timeout: {SECONDS}"),
        ({"request_timeout": float("nan")}, f"request_timeout: {SECONDS}"),
        ({"heartbeat_interval": None}, f"heartbeat_interval: {SECONDS}"),
        ({"reconnect_initial_delay": True}, f"reconnect_initial_delay: {SECONDS}"),
        ({"reconnect_max_delay": float("inf")}, "reconnect_max_delay: is longer than a hundred years"),
        ({"history_limit": -1}, f"history_limit: {COUNT}"),
        ({"history_limit": None}, f"history_limit: {COUNT}"),
        ({"result_limit": 1.5}, f"result_limit: {COUNT}"),
        ({"proxy": "canary"}, "proxy: should be a proxy's address that begins with http:// or https://"),
        ({"proxy": 5}, "proxy: should be a proxy's address that begins with http:// or https://"),
        ({"ca_file": "/does/not/exist"}, "ca_file: cannot use /does/not/exist: No such file or directory"),
        ({"ca_file": __file__}, f"ca_file: cannot use {__file__}: no certificates"),
        ({"ca_file": 5}, "ca_file: should be the path of a PEM file"),
        ({"ca_file": "a\0b"}, "ca_file: should be the path of a PEM file"),
        ({"token": ""}, "token: should be one word of plain letters, digits and signs"),
        ({"token": "canary canary"}, "token: should be one word of plain letters, digits and signs"),
        ({"token": 5}, "token: should be one word of plain letters, digits and signs"),
        ({"tokens": "tokens.json"}, 'tokens: should be a token store, as FileTokens("path")'),
        (
            {"token": "canary", "tokens": MemoryTokens()},
            "tokens: should not be given together with token: there is no login to store",
        ),
        ({"on_error": 5}, "on_error: should be a function or another callable"),
    ],
)
def test_a_setting_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        AInTandemClient(**{"base_url": "http://h", **settings})
    assert str(wrong.value) == f"AInTandemClient: {message}"


def test_all_invalid_settings_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as wrong:
        AInTandemClient("h", connect_timeout=-1, history_limit=-1)
    assert [problem.key for problem in wrong.value.problems] == ["base_url", "connect_timeout", "history_limit"]


def test_each_setting_has_its_rule() -> None:
    assert set(RULES) | {"clock"} == set(inspect.signature(AInTandemClient).parameters)


async def test_it_is_used_inside_of_its_block_and_once(simulator: Simulator) -> None:
    client = client_of(simulator)
    for name in ("auth", "projects", "tasks", "workflows", "sandboxes", "progress"):
        with pytest.raises(RuntimeError, match="outside of its `async with`"):
            getattr(client, name)
    for name, message in (
        ("nothing", "'AInTandemClient' object has no attribute 'nothing'"),
        ("subscribeToTask", "has no attribute 'subscribeToTask'; it is called subscribe_to_task here"),
        ("subscribeToEverything", "has no attribute 'subscribeToEverything'"),
    ):
        with pytest.raises(AttributeError, match=f"{message}$"):
            getattr(client, name)
    async with client:
        assert client.get_progress() is client.progress
    with pytest.raises(RuntimeError, match="outside of its `async with`"):
        await client.call("GET", "/health")
    with pytest.raises(RuntimeError, match="was used before"):
        await client.__aenter__()
    await trio.lowlevel.checkpoint()


def test_the_repr_of_a_store_names_its_place(tmp_path: Path) -> None:
    assert repr(FileTokens(tmp_path / "t.json")) == f"FileTokens({str(tmp_path / 't.json')!r})"


async def test_a_part_cannot_be_used_after_the_block(simulator: Simulator) -> None:
    outside = "outside of its `async with`"
    async with logged_in(simulator) as client:
        auth, progress, tasks, sandboxes = client.auth, client.progress, client.tasks, client.sandboxes
        assert hasattr(client, "auth")
        subscription = await progress.subscribe_to_progress("project-123", print)
    assert not hasattr(client, "auth")
    for ask in (
        lambda: auth.login("admin", "admin123"),
        auth.logout,
        auth.refresh,
        auth.verify,
        auth.token,
        lambda: progress.connect("project-123"),
        lambda: progress.subscribe_to_progress("project-123", print),
        lambda: progress.events("project-123").__aenter__(),
        lambda: progress.disconnect("project-123"),
        progress.disconnect_all,
        lambda: tasks.get_task("project-123", "t"),
        lambda: anext(tasks.list_tasks("project-123")),
        sandboxes.list,
    ):
        for _ in range(2):
            with pytest.raises(RuntimeError, match=outside):
                await ask()
    for look in (
        auth.is_authenticated,
        lambda: auth.token_expires_at,
        lambda: progress.is_connected("project-123"),
        lambda: progress.history("project-123"),
        progress.clear_history,
        lambda: progress.on_connection_state("project-123", print),
    ):
        with pytest.raises(RuntimeError, match=outside):
            look()
    subscription.unsubscribe()
    assert not subscription.is_active


async def test_a_call_that_waits_when_the_block_is_left(raw: RawOrchestrator) -> None:
    """A call of another task raises Disconnected, and the HTTP client stays open until the call has ended."""
    ended: list[str] = []
    raw.delays["GET /api/workflows/projects/p/executions"] = trio.Event()

    async def ask(client: AInTandemClient) -> None:
        with pytest.raises(Disconnected, match="the client's block was left"):
            await client.workflows.list_executions("p")
        ended.append("list_executions")

    async with trio.open_nursery() as nursery:
        async with logged_in(raw) as client:
            nursery.start_soon(ask, client)
            while paths(raw)[-1] != "/workflows/projects/p/executions":
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert ended == ["list_executions"]


def test_asyncio_is_refused(tmp_path: Path) -> None:
    async def use() -> None:
        async with AInTandemClient("http://localhost:9", tokens=FileTokens(tmp_path / "t")):
            raise AssertionError("it was entered")

    with pytest.raises(RuntimeError, match="AInTandemClient needs trio"):
        asyncio.run(use())
