"""Clients can read the simulator's tokens, and invalid ones are refused."""

import base64
import json

import pytest
import trio
from trio.testing import MockClock

from aintandem_notify.simulator.world.tokens import TokenIssuer, read, sign
from support.trio_clock import TrioClock

KEY = b"k" * 32


def test_a_token_is_a_jwt_that_anybody_can_read() -> None:
    head, claims, signature = sign({"exp": 12.5}, KEY).split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "typ": "JWT"}
    assert json.loads(base64.urlsafe_b64decode(claims + "==")) == {"exp": 12.5}
    assert signature


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", sign({"exp": 1}, b"another key")])
def test_a_foreign_token_has_no_claims(token: str) -> None:
    assert read(token, KEY) is None
    assert read(sign({"exp": 1}, KEY), KEY) == {"exp": 1}


async def test_a_token_is_good_until_it_expires(autojump_clock: MockClock) -> None:
    office = TokenIssuer(TrioClock(), lifetime=10.0)
    pair = office.login("admin")
    await trio.sleep(9.9)
    assert office.user_of(pair.token) == "admin"
    await trio.sleep(0.2)
    assert office.user_of(pair.token) is None


async def test_a_refresh_token_works_once() -> None:
    office = TokenIssuer(TrioClock(), lifetime=10.0)
    first = office.login("admin")
    second = office.refresh(first.refresh_token)
    assert second is not None
    assert office.user_of(second.token) == "admin"
    assert second.token != first.token
    assert office.refresh(first.refresh_token) is None
    assert office.refresh(second.refresh_token) is not None


async def test_logout_ends_its_own_session_only() -> None:
    office = TokenIssuer(TrioClock(), lifetime=10.0)
    mine, other = office.login("admin"), office.login("admin")
    office.logout(mine.token)
    office.logout("nonsense")
    assert office.user_of(mine.token) is None
    assert office.refresh(mine.refresh_token) is None
    assert office.user_of(other.token) == "admin"


@pytest.mark.parametrize("refresh_too", [False, True])
async def test_expiring_all(refresh_too: bool) -> None:
    office = TokenIssuer(TrioClock(), lifetime=10.0)
    pair = office.login("admin")
    office.expire_all(refresh_tokens=refresh_too)
    assert office.user_of(pair.token) is None
    fresh = office.refresh(pair.refresh_token)
    assert (fresh is None) == refresh_too
    assert fresh is None or office.user_of(fresh.token) == "admin"
