"""Announced secrets, and texts that look like one, are redacted."""

import json
import secrets
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from aintandem_notify import log
from aintandem_notify.log import MAX_ROTATING_SECRETS, REDACTED, redact, redact_values, redaction
from support.log_lines import fresh_secret

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.dGhlLXNpZ25hdHVyZQ"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"GET /x?token={JWT}&a=1", f"GET /x?token={REDACTED}&a=1"),
        ("GET /x?access_token=abc;", f"GET /x?access_token={REDACTED}"),
        ("TOKEN=abc", f"TOKEN={REDACTED}"),
        (f"sent {JWT} off", f"sent {REDACTED} off"),
        ("eyJhbGciOiJub25lIn0.eyJhIjoxfQ.", REDACTED),
        ("xoxb-1234567890-abcdef used", f"{REDACTED} used"),
        ("xoxp-1234567890", REDACTED),
        ("xapp-1-A1234567890-0-abc", REDACTED),
        ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw.", f"secret {REDACTED}."),
        ("https://hooks.slack.com/services/T0/B0/xyz failed", f"https://hooks.slack.com/{REDACTED} failed"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {REDACTED}"),
        ("Authorization: Basic YWRtaW46YWRtaW4=", f"Authorization: Basic {REDACTED}"),
        ("authorization: s3cr3t was refused", f"authorization: {REDACTED} was refused"),
        ("HTTP_AUTHORIZATION=s3cr3t", f"HTTP_AUTHORIZATION={REDACTED}"),
        ("{'Authorization': 'Token abc'}", "{'Authorization': 'Token " + REDACTED + "'}"),
        (r"{\"authorization\": \"abc\"}", r"{\"authorization\": \"" + REDACTED + r"\"}"),
        ("bearer abcdefgh12345", f"bearer {REDACTED}"),
        ('{"refreshToken": "abc", "a": 1}', '{"refreshToken": "' + REDACTED + '", "a": 1}'),
        ("http://user:pass@proxy:3128/", f"http://user:{REDACTED}@proxy:3128/"),
    ],
)
def test_a_text_that_looks_like_a_token_is_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a task about tokens and bearers",
        "the token: expired an hour ago",
        "bearer of bad news",
        "authorization failed",
        "see https://example.org:8080/a/b?c=d@e",
        "eyJust a word",
        "xoxo",
        "mail to anna@example.org",
    ],
)
def test_a_text_that_does_not_look_like_a_token_stays(text: str) -> None:
    assert redact(text) == text


def test_an_announced_secret_is_redacted_in_every_spelling() -> None:
    secret = fresh_secret("/p ä\"ss'w\\ör+d\nx")
    spellings = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote(secret, safe="").lower(),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }

    assert len(spellings) == 7
    for spelling in spellings:
        assert redact(f"before {spelling} after") == f"before {REDACTED} after"


def test_a_text_that_was_seen_before_the_secret_was_known_is_redacted_from_then_on() -> None:
    secret = secrets.token_hex(8)
    assert redact(f"uses {secret}") == f"uses {secret}"
    log.register_secret(secret)

    assert redact(f"uses {secret}") == f"uses {REDACTED}"


def test_a_secret_that_holds_another_is_redacted_whole() -> None:
    short = fresh_secret()
    long = short + "-extended"
    log.register_secret(long)

    assert redact(f"{long}|{short}") == f"{REDACTED}|{REDACTED}"


@pytest.mark.parametrize("secret", ["", "a", "abc"])
def test_a_secret_that_is_too_short_does_not_spoil_texts(secret: str) -> None:
    log.register_secret(secret)

    assert redact("abcdef abc") == "abcdef abc"


def test_rotating_secrets_are_forgotten_when_many_newer_ones_came() -> None:
    first, lasting = secrets.token_hex(8), fresh_secret()
    log.register_secret(first, rotating=True)
    newest = [secrets.token_hex(8) for _ in range(MAX_ROTATING_SECRETS)]
    for secret in newest[:-1]:
        log.register_secret(secret, rotating=True)
    assert redact(first) == REDACTED
    log.register_secret(newest[-1], rotating=True)

    assert redact(first) == first
    assert redact(" ".join([*newest, lasting])) == " ".join([REDACTED] * (MAX_ROTATING_SECRETS + 1))


def test_of_many_tokens_that_replaced_one_another_only_the_newest_cost_more_than_themselves() -> None:
    odd = "<'\"&%/" * 1000
    tokens = [f"{odd}{number:04}" for number in range(20)]
    for token in tokens:
        log.register_secret(token, rotating=True)

    assert [redact(f"was {token}!") for token in tokens] == [f"was {REDACTED}!"] * len(tokens)
    assert redact(quote(tokens[-1], safe="")) == REDACTED
    assert redact(quote(tokens[0], safe="")) != REDACTED


def test_a_rotating_secret_that_is_announced_again_takes_no_second_place() -> None:
    secret, other = secrets.token_hex(8), secrets.token_hex(8)
    log.register_secret(other, rotating=True)
    for _ in range(MAX_ROTATING_SECRETS * 2):
        log.register_secret(secret, rotating=True)

    assert redact(other) == REDACTED


def test_texts_inside_values_are_redacted() -> None:
    secret = fresh_secret()
    values = {"a": [secret, 1, None, {"b": (f"x{secret}", True)}], "token": 1.5}

    assert redact_values(values) == {"a": [REDACTED, 1, None, {"b": [f"x{REDACTED}", True]}], "token": 1.5}


TEMPTING = st.sampled_from(
    [
        JWT,
        "xoxb-12345678-abc",
        "Bearer abcdefghi",
        "TOKEN=x1",
        "https://me:pw@host",
        "Authorization: x",
        '"token": "t"',
    ]
)
SECRETS = st.sampled_from(['quo"te\\d', "sp ace/ü", "tab\there", "plain-secret", "\x7fdel\u2028"])


@given(
    st.recursive(
        st.none() | st.integers() | st.lists(st.text() | TEMPTING | SECRETS, max_size=3).map("".join),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_a_skipped_text_holds_nothing_to_redact(value: Any) -> None:
    for secret in ('quo"te\\d', "sp ace/ü", "tab\there", "plain-secret", "\x7fdel\u2028"):
        log.register_secret(secret, rotating=True)
    if not log.may_hold_secret(to_json(value).decode()):
        assert redact_values(value) == value
    if isinstance(value, str) and not log.may_hold_secret(value):
        assert redact(value) == value


def test_a_harmless_text_is_passed_over() -> None:
    assert not log.may_hold_secret('{"output": "[0001] Train the model: row 17 of 1000000 done\\n"}')


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


class Looking(redaction.Redactor):
    """Counts the texts that it looks through."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = 0

    def _redact(self, text: str) -> str:
        self.looked += 1
        return super()._redact(text)


def test_a_long_text_is_looked_through_once_though_it_is_asked_for_again() -> None:
    redactor = Looking()
    for text in ("token=longcanary01 " * 1000, "token=longcanary01 " * 1000, "nothing to hide " * 1000):
        assert "longcanary01" not in redactor.redact(text)
    assert redactor.looked == 1
    redactor.register_secret(fresh_secret())  # a secret registered later is found in a cached text
    redactor.redact("token=longcanary01 " * 1000)
    assert redactor.looked == 2


def test_a_redactor_knows_the_secrets_that_it_was_told_until_they_are_set_back() -> None:
    one, another = redaction.Redactor(), redaction.Redactor()
    before, secret = one.registered, fresh_secret()
    one.register_secret(secret)
    assert (one.redact(f"it is {secret}"), another.redact(secret)) == (f"it is {REDACTED}", secret)
    one.registered = before
    assert one.redact(f"it is {secret}") == f"it is {secret}"
