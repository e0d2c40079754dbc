"""Sessions against a real HTTP server on loopback."""

import json
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from aintandem_notify import log
from aintandem_notify.config.types.values import Secret
from aintandem_notify.domain.events import AgentEvent
from aintandem_notify.errors import ApiError, AuthenticationFailed, HttpFailed, ServerTrouble
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator import Credentials, Login, LoginStatus, Session, StaticToken
from aintandem_notify.orchestrator.auth.tokens import Token, TokenOrigin, renewal_time
from support.raw_http import HttpRequest, RestAnswer
from support.raw_orchestrator import RawOrchestrator, open_raw_orchestrator

LOGIN = Login("admin", Secret("admin123"))
GIVEN = StaticToken(Secret("a-token-from-elsewhere"))


@asynccontextmanager
async def session_with(
    raw: RawOrchestrator, credentials: Credentials = LOGIN, path: str = ""
) -> AsyncIterator[tuple[Session, list[AgentEvent]]]:
    events: list[AgentEvent] = []
    async with HttpClient() as http:
        yield (
            Session(
                raw.url + path,
                credentials,
                http=http,
                clock=SystemClock(),
                chance=lambda: 0.0,
                announce=events.append,
            ),
            events,
        )


def paths(raw: RawOrchestrator) -> Sequence[str]:
    return [request.path for request in raw.requests]


async def test_a_login_gives_a_token_that_is_kept() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, events):
        token = await session.token()
        assert await session.token() is token
        assert raw.logins == [{"username": "admin", "password": "admin123"}]
        assert token.origin is TokenOrigin.LOGIN
        assert session.token_expires_at == token.expires_at
        assert token.expires_at is not None
        assert session.base == f"{raw.url}/api"
        assert session.socket("p", token).resource == f"/api/progress/subscribe/p?token={token.text}"
        assert events == []


async def test_tokens_are_secrets() -> None:
    async with open_raw_orchestrator() as raw:
        raw.rest["POST /api/auth/login"] = {"success": True, "token": "opaque-one", "refreshToken": "opaque-two"}
        async with session_with(raw) as (session, _):
            token = await session.token()
            assert "opaque" not in log.redact("it was opaque-one and opaque-two")
            assert "opaque" not in repr(token)


async def test_many_projects_share_one_login() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        tokens: list[Token] = []

        async def get_token() -> None:
            tokens.append(await session.token())

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(get_token)
        assert len(raw.logins) == 1
        assert len({token.text for token in tokens}) == 1


async def test_many_refusals_share_one_refresh() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        old = await session.token()
        fresh: list[Token] = []

        async def renew() -> None:
            fresh.append(await session.renew(old))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(renew)
        assert raw.refreshes == [{"refreshToken": "refresh-1"}]
        assert len({token.text for token in fresh}) == 1
        assert await session.renew(old) is fresh[0], "a late caller gets the same token"
        assert len(raw.refreshes) == 1


async def test_refresh_tokens_rotate(mock_clock: trio.testing.MockClock) -> None:
    async with open_raw_orchestrator(token_lifetime=1000) as raw, session_with(raw) as (session, _):
        for _ in range(4):
            await session.token()
            mock_clock.jump(800)
        assert [body["refreshToken"] for body in raw.refreshes] == ["refresh-1", "refresh-2", "refresh-3"]
        assert len(raw.logins) == 1


async def test_an_aging_token_is_refreshed_without_a_refusal(mock_clock: trio.testing.MockClock) -> None:
    async with open_raw_orchestrator(token_lifetime=1000) as raw, session_with(raw) as (session, _):
        await session.token()
        mock_clock.jump(800)
        token = await session.token()
        assert token.origin is TokenOrigin.REFRESH
        assert len(raw.logins) == len(raw.refreshes) == 1
        assert await session.token() is token


async def test_trouble_with_a_refresh_is_waited_out_while_the_token_is_good(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with open_raw_orchestrator(token_lifetime=1000) as raw, session_with(raw) as (session, _):
        token = await session.token()
        raw.rest["POST /api/auth/refresh"] = RestAnswer({"error": "busy"}, 503)
        mock_clock.jump(800)
        assert await session.token() is token
        assert len(raw.logins) == 1
        mock_clock.jump(150)
        assert (await session.token()).origin is TokenOrigin.LOGIN


async def test_a_refused_token_out_of_a_refresh_asks_for_a_login() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        second = await session.renew(await session.token())
        third = await session.renew(second)
        assert [second.origin, third.origin] == [TokenOrigin.REFRESH, TokenOrigin.LOGIN]
        assert (len(raw.logins), len(raw.refreshes)) == (2, 1)


@pytest.mark.parametrize(
    "answer",
    [
        RestAnswer({"success": False, "error": "used already"}),
        RestAnswer({"error": "no", "code": "UNAUTHORIZED"}, 401),
        RestAnswer({"success": True}),
        RestAnswer(b"<html>", 404),
        RestAnswer({"error": "no such row"}, 500),
        RestAnswer({"error": "slowly"}, 429),
    ],
)
async def test_a_refused_refresh_ends_in_a_login(answer: RestAnswer) -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, events):
        raw.rest["POST /api/auth/refresh"] = answer
        token = await session.renew(await session.token())
        assert token.origin is TokenOrigin.LOGIN
        assert len(raw.logins) == 2
        assert events == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (RestAnswer({"success": False, "error": "bad credentials"}), "bad credentials"),
        (RestAnswer({"error": "locked", "code": "FORBIDDEN", "statusCode": 403}, 403), "locked"),
        (RestAnswer({"success": True}), "no token"),
        (RestAnswer({"error": "no such user", "code": "USER_NOT_FOUND"}, 404), "no such user"),
        (RestAnswer(b"", 401), "401"),
        (RestAnswer(b"forbidden", 403), "403"),
    ],
)
async def test_a_refused_login_is_announced_once_and_not_repeated_at_once(
    answer: RestAnswer, words: str, mock_clock: trio.testing.MockClock
) -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, events):
        raw.rest |= {"POST /api/auth/login": answer, "POST /auth/login": answer}
        for _ in range(5):
            with pytest.raises(ApiError, match=words):
                await session.token()
        assert paths(raw) == ["/api/auth/login", "/auth/login"][: 1 + (answer.status == 404)]
        assert [event.type for event in events] == ["login_failed"]
        assert words in events[0].reason
        assert "admin123" not in events[0].reason


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (RestAnswer(b"<html>hello</html>"), "not JSON"),
        (RestAnswer(b"<html>hello</html>", 403), "403"),
        (RestAnswer(b"<html>hello</html>", 404), "404"),
        (RestAnswer(b"404 page not found", 404), "404"),
        (RestAnswer(b"", 302, {"Location": "about:blank"}), "302"),
        (RestAnswer(b"", 407), "407"),
        (RestAnswer(b"misdirected", 421), "421"),
        (RestAnswer({"status": "maintenance", "message": "back at 9"}), "back at 9"),
        (RestAnswer(None), "no token"),
        (RestAnswer([1]), "no token"),
        (RestAnswer(b""), "no token"),
    ],
)
async def test_an_answer_of_something_else_is_no_refused_login(
    answer: RestAnswer, words: str, mock_clock: trio.testing.MockClock
) -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, events):
        raw.rest |= {"POST /api/auth/login": answer, "POST /auth/login": answer}
        with pytest.raises(ApiError, match=words):
            await session.token()
        assert words in str(session.login_status.unreachable)
        assert session.login_status.refused is None
        assert events == []
        del raw.rest["POST /api/auth/login"]
        mock_clock.jump(2)
        assert await session.token(), "tried again soon, at the right base"
        assert session.base == f"{raw.url}/api"


@pytest.mark.parametrize("answer", [RestAnswer(b"<html>hello</html>"), RestAnswer(b"", 302), RestAnswer(None)])
async def test_an_answer_of_something_else_to_a_refresh_costs_no_login(
    answer: RestAnswer, mock_clock: trio.testing.MockClock
) -> None:
    async with open_raw_orchestrator(token_lifetime=1000) as raw, session_with(raw) as (session, events):
        token = await session.token()
        raw.rest["POST /api/auth/refresh"] = answer
        mock_clock.jump(800)
        assert await session.token() is token, "it is valid for a while"
        assert session.login_status.unreachable is not None
        raw.rest.clear()
        mock_clock.jump(2)
        assert (await session.token()).origin is TokenOrigin.REFRESH
        assert session.login_status == LoginStatus()
        assert (len(raw.logins), events) == (1, [])


@pytest.mark.parametrize("token", ["\ud800", "two words", "a\r\nX: y", "é", "", 7, None, ["a"], "t" * 16_385])
async def test_a_text_that_cannot_be_sent_is_no_token(token: object) -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        raw.rest["POST /api/auth/login"] = {"success": True, "token": token}
        with pytest.raises(AuthenticationFailed, match="the answer held no token"):
            await session.token()


async def test_a_token_that_is_too_long_to_refresh_with_is_none() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        raw.rest["POST /api/auth/login"] = {"success": True, "token": "T", "refreshToken": "r" * 16_385}
        await session.renew(await session.token())
        assert [request.path for request in raw.requests] == ["/api/auth/login"] * 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("x" * 5000, "x" * 300),
        ({"message": "locked", "password": "canary"}, "locked"),
        (["canary"], "the answer held no token"),
    ],
)
async def test_the_message_of_a_refusal_is_one_line(error: object, message: str) -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        raw.rest["POST /api/auth/login"] = {"success": False, "error": error}
        with pytest.raises(AuthenticationFailed) as refused:
            await session.token()
        assert refused.value.message == message


async def test_a_login_waits_as_long_as_the_orchestrator_asks(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        raw.rest["POST /api/auth/login"] = RestAnswer({"error": "slowly"}, 429, {"Retry-After": "100"})
        for wait, requests in [(0, 1), (99, 1), (1, 2)]:
            mock_clock.jump(wait)
            with pytest.raises(ServerTrouble):
                await session.token()
            assert len(raw.requests) == requests


async def test_trouble_is_no_refusal(mock_clock: trio.testing.MockClock) -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, events):
        raw.rest["POST /api/auth/login"] = RestAnswer(b"", 503)
        for _ in range(3):
            with pytest.raises(ServerTrouble):
                await session.token()
        assert len(raw.requests) == 1, "a server in trouble is not asked by every project"
        assert events == []


async def test_nobody_listens() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, events):
        await raw.go_away()
        with pytest.raises(HttpFailed):
            await session.token()
        assert events == []


async def test_an_owner_that_is_cancelled_leaves_the_request_to_the_next() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        arrived, tokens = trio.Event(), []

        def hang_once(request: HttpRequest) -> Any:
            arrived.set()
            raw.rest.pop("POST /api/auth/login")
            return RestAnswer(b"x", headers={"Content-Length": "1000"})

        raw.rest["POST /api/auth/login"] = hang_once
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def owner() -> None:
                with scope:
                    await session.token()

            async def waiter() -> None:
                tokens.append(await session.token())

            nursery.start_soon(owner)
            await arrived.wait()
            nursery.start_soon(waiter)
            await trio.testing.wait_all_tasks_blocked(0.01)
            scope.cancel()
        assert len(tokens) == 1


@pytest.mark.parametrize(("credentials", "route"), [(LOGIN, "login"), (GIVEN, "verify")])
async def test_a_bare_server_is_found_and_remembered(credentials: Credentials, route: str) -> None:
    async with open_raw_orchestrator(prefixes=("",)) as raw, session_with(raw, credentials) as (session, _):
        token = await session.token()
        assert session.base == raw.url
        assert session.socket("p", token).resource.startswith("/progress/subscribe/p?")
        if credentials is LOGIN:
            await session.renew(token)
        assert paths(raw)[:2] == [f"/api/auth/{route}", f"/auth/{route}"]
        assert not any(path.startswith("/api") for path in paths(raw)[2:])


async def test_a_url_that_ends_in_api_is_taken_as_it_is() -> None:
    async with open_raw_orchestrator(prefixes=("/api",)) as raw, session_with(raw, path="/api") as (session, _):
        await session.token()
        assert paths(raw) == ["/api/auth/login"]


async def test_a_url_that_is_nowhere() -> None:
    async with open_raw_orchestrator(prefixes=("/elsewhere",)) as raw, session_with(raw) as (session, events):
        with pytest.raises(ApiError, match="404"):
            await session.token()
        assert paths(raw) == ["/api/auth/login", "/auth/login"]
        assert [event.type for event in events] == ["login_failed"]


async def test_the_login_says_how_it_stands(mock_clock: trio.testing.MockClock) -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        assert session.login_status == LoginStatus()
        since = None
        for answer, refused, unreachable in [
            (RestAnswer({"error": "wrong password"}, 401), "wrong password (HTTP 401)", None),
            (RestAnswer({"error": "busy"}, 503), "wrong password (HTTP 401)", "busy (HTTP 503)"),
            (RestAnswer({"error": "locked"}, 403), "locked (HTTP 403)", None),
        ]:
            raw.rest["POST /api/auth/login"] = answer
            with pytest.raises(ApiError):
                await session.token()
            status = session.login_status
            since = since or status.since
            assert status == LoginStatus(refused, unreachable, since)
            mock_clock.jump(1000)
        assert since is not None
        await raw.go_away()
        with pytest.raises(HttpFailed):
            await session.token()
        assert session.login_status.refused == "locked (HTTP 403)", "until one is accepted"
        raw.come_back()
        raw.rest.clear()
        mock_clock.jump(1000)
        await session.token()
        assert session.login_status == LoginStatus()


async def test_a_given_token_that_is_refused_is_a_refused_login_until_it_is_accepted() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw, GIVEN) as (session, _):
        token = await session.token()
        with pytest.raises(AuthenticationFailed):
            await session.renew(token)
        assert session.login_status.refused == "the orchestrator refused the token that it was given (HTTP 401)"
        assert await session.token() is token
        assert session.login_status.refused is not None
        session.note_accepted(token)
        assert session.login_status == LoginStatus()


async def test_a_given_token_is_used_as_it_is() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw, GIVEN) as (session, events):
        token = await session.token()
        assert (token.text, token.origin) == ("a-token-from-elsewhere", TokenOrigin.STATIC)
        for _ in range(3):
            with pytest.raises(AuthenticationFailed, match="refused the token that it was given"):
                await session.renew(token)
        assert [event.type for event in events] == ["login_failed"]
        assert await session.token() is token, "it may be accepted later"
        session.note_accepted(token)
        with pytest.raises(AuthenticationFailed):
            await session.renew(token)
        assert len(events) == 2
        assert raw.logins == raw.refreshes == []


async def test_a_given_token_is_used_to_its_end(mock_clock: trio.testing.MockClock) -> None:
    """It cannot be renewed, so no link is opened again because of its age."""
    async with (
        open_raw_orchestrator() as raw,
        session_with(raw, StaticToken(Secret(raw.new_token()))) as (session, _),
    ):
        token = await session.token()
        assert token.expires_at is not None
        assert renewal_time(token, lambda: 0.0) == math.inf
        mock_clock.jump(10 * raw.token_lifetime)
        assert await session.token() is token


async def test_a_given_token_is_used_where_nothing_verifies() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw, GIVEN) as (session, _):
        await raw.go_away()
        assert (await session.token()).text == "a-token-from-elsewhere"


async def test_verify_and_logout() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        assert await session.verify()
        token = await session.token()
        assert json.loads(raw.requests[-1].body) == {"token": token.text}
        raw.rest["POST /api/auth/verify"] = {"success": False}
        assert not await session.verify()
        raw.rest["POST /api/auth/verify"] = RestAnswer({"error": "no"}, 401)
        assert not await session.verify()
        await session.logout()
        assert raw.requests[-1].path == "/api/auth/logout"
        assert raw.requests[-1].headers["authorization"] == f"Bearer {token.text}"
        assert session.token_expires_at is None
        await session.logout()
        assert paths(raw).count("/api/auth/logout") == 1
        await session.token()
        assert len(raw.logins) == 2


async def test_a_failed_logout_does_no_harm() -> None:
    async with open_raw_orchestrator() as raw, session_with(raw) as (session, _):
        await session.token()
        raw.rest["POST /api/auth/logout"] = RestAnswer(b"", 500)
        await session.logout()
