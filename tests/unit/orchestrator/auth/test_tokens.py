"""The end of a token, and the times for its renewal."""

import base64
import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.orchestrator.auth.tokens import (
    MAX_TOKEN_LENGTH,
    Token,
    TokenOrigin,
    has_token_length,
    is_token,
    make_stored_token,
    make_token,
    renewal_time,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = NOW.timestamp()


def jwt(claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2ln"


def token_of(text: str) -> Token:
    return make_token(text, TokenOrigin.LOGIN, now=NOW, current_time=100.0)


def test_life_is_counted_from_arrival() -> None:
    token = token_of(jwt({"exp": SECONDS + 1000}))
    assert token.expires_at == datetime.fromtimestamp(SECONDS + 1000, UTC)
    assert (token.renew_from, token.renew_until) == (850.0, 1000.0)


@pytest.mark.parametrize(
    ("claims", "ends_in_s"), [({"exp": SECONDS + 9}, 9), ({"exp": SECONDS - 9}, -9), ({}, None)]
)
def test_a_token_has_its_text_its_origin_and_the_end_that_it_says(
    claims: dict[str, float], ends_in_s: float | None
) -> None:
    expires_at = None if ends_in_s is None else datetime.fromtimestamp(SECONDS + ends_in_s, UTC)
    text = jwt(claims)
    token = token_of(text)
    assert (token.text, token.origin, token.expires_at) == (text, TokenOrigin.LOGIN, expires_at)
    stored = make_stored_token(text, now=NOW, current_time=100.0)
    if ends_in_s is not None and ends_in_s < 0:
        assert stored is None
    else:
        assert stored is not None
        assert (stored.text, stored.origin, stored.expires_at) == (text, TokenOrigin.STORED, expires_at)


def test_a_stored_token_counts_until_its_last_moment() -> None:
    assert make_stored_token(jwt({"exp": SECONDS + 0.5}), now=NOW, current_time=100.0) is not None


@pytest.mark.parametrize("padding", range(20))
def test_claims_of_any_length_are_read(padding: int) -> None:
    assert token_of(jwt({"exp": SECONDS + 1000, "x": "y" * padding})).renew_from == 850.0


def test_claims_beside_odd_numbers_are_read() -> None:
    assert token_of(jwt({"exp": SECONDS + 1000, "x": [math.nan]})).renew_from == 850.0


@pytest.mark.parametrize(
    ("text", "is_one", "has_length"),
    [
        ("x", True, True),
        ("!~", True, True),
        ("", False, False),
        ("two words", False, True),
        ("line\n", False, True),
        ("naïve", False, True),
        ("x" * MAX_TOKEN_LENGTH, True, True),
        ("x" * (MAX_TOKEN_LENGTH + 1), False, False),
        (None, False, False),
        (b"x", False, False),
        (7, False, False),
    ],
)
def test_a_token_is_visible_ascii_and_not_too_long(text: object, is_one: bool, has_length: bool) -> None:
    assert (is_token(text), has_token_length(text)) == (is_one, has_length)


@pytest.mark.parametrize("skew", [-3600, 3600, 365 * 86400])
def test_with_an_issue_time_our_own_clock_does_not_matter(skew: float) -> None:
    token = token_of(jwt({"iat": SECONDS + skew, "exp": SECONDS + skew + 1000}))
    assert (token.renew_from, token.renew_until) == (850.0, 1000.0)


def test_a_life_of_no_length_is_no_hot_loop() -> None:
    token = token_of(jwt({"iat": SECONDS, "exp": SECONDS + 0.001}))
    assert (token.renew_from, token.renew_until) == (100.75, 100.9)


@pytest.mark.parametrize(
    ("claims", "renew"),
    [
        ({"iat": SECONDS - 600, "exp": SECONDS + 400}, (250.0, 400.0)),
        ({"iat": SECONDS - 990, "exp": SECONDS + 10}, (-140.0, 10.0)),
        ({"exp": SECONDS + 400}, (400.0, 460.0)),
        ({"iat": SECONDS + 100, "exp": SECONDS + 400}, (400.0, 460.0)),
        ({}, (math.inf, math.inf)),
    ],
)
def test_a_stored_token_has_used_up_a_part_of_its_life(
    claims: dict[str, float], renew: tuple[float, float]
) -> None:
    token = make_stored_token(jwt(claims), now=NOW, current_time=100.0)
    assert token is not None
    assert token.origin is TokenOrigin.STORED
    assert (token.renew_from, token.renew_until) == pytest.approx(renew)


@pytest.mark.parametrize("remaining", [0, -1, -1e6])
def test_a_stored_token_that_has_expired_is_none(remaining: float) -> None:
    assert make_stored_token(jwt({"exp": SECONDS + remaining}), now=NOW, current_time=100.0) is None


@pytest.mark.parametrize(
    "text",
    [
        "opaque",
        "a.b",
        "a.b.c",
        "a.é.c",
        "a..c",
        jwt([]),
        jwt({}),
        jwt({"exp": None}),
        jwt({"exp": True}),
        jwt({"exp": "soon"}),
        jwt({"exp": 1e300}),
        jwt({"exp": -(10**400)}),
        jwt({"exp": float("nan")}),
        jwt({"exp": SECONDS}),
        jwt({"exp": SECONDS - 1}),
        jwt({"iat": SECONDS + 10, "exp": SECONDS + 10}),
    ],
)
def test_a_token_without_a_known_end_is_renewed_only_after_a_refusal(text: str) -> None:
    token = token_of(text)
    assert (token.renew_from, token.renew_until) == (math.inf, math.inf)
    assert renewal_time(token, lambda: 0.5) == math.inf


@given(st.text(max_size=80))
def test_any_text_is_a_token(text: str) -> None:
    assert token_of(text).text == text


@given(
    st.dictionaries(st.sampled_from(["exp", "iat"]), st.one_of(st.integers(), st.floats(), st.text(), st.none()))
)
def test_any_claims_are_survived(claims: dict[str, Any]) -> None:
    token = token_of(jwt(claims))
    assert token.renew_from <= token.renew_until
    assert token.renew_from > 100.0


def test_each_holder_draws_its_moment() -> None:
    token = token_of(jwt({"exp": SECONDS + 1000}))
    moments = [renewal_time(token, iter([part]).__next__) for part in (0.0, 0.5, 1.0)]
    assert moments == [850.0, 925.0, 1000.0]


def test_a_token_does_not_show() -> None:
    assert "canary" not in repr(token_of("canary"))
