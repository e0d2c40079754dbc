"""Logins of the library over real sockets: tokens, refreshes, cancellation and secrets."""

import pytest
import trio
import trio.testing

from aintandem_notify import (
    AuthenticationFailed,
    HttpFailed,
    MemoryTokens,
    NotLoggedIn,
    ServerTrouble,
    StoredTokens,
    User,
)
from aintandem_notify.log import redact
from aintandem_notify.orchestrator.auth.token_store import SAVE_TIMEOUT_S
from aintandem_notify.simulator.simulation import Simulator
from support.clients import client_of, logged_in
from support.raw_http import RestAnswer
from support.raw_orchestrator import RawOrchestrator, make_token


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
