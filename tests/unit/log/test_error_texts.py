"""The text of any error: never raises, one line, bounded, valid Unicode, redacted."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.errors import RetryLater
from aintandem_notify.log import (
    MAX_ERROR_TEXT,
    describe_error,
    error_kind,
    error_name,
    is_equal,
    register_secret,
    safe_text,
)
from aintandem_notify.log.error_texts import UNREADABLE


def error_with_text(to_str: Callable[[Any], Any], base: type[BaseException] = Exception) -> BaseException:
    """An error whose ``str`` and ``repr`` call ``to_str``."""
    error: BaseException = type("Own", (base,), {"__str__": to_str, "__repr__": to_str})()
    return error


def fails(error: BaseException) -> Callable[[Any], Any]:
    """A ``__str__`` that raises."""

    def to_str(_self: object) -> str:
        raise error

    return to_str


def endless(self: object) -> str:
    """A ``__str__`` that calls itself."""
    return str(self)


@pytest.mark.parametrize(
    "to_str",
    [
        fails(RuntimeError("in str")),
        fails(SystemExit(5)),
        fails(KeyboardInterrupt()),
        fails(BaseException()),
        fails(MemoryError()),
        endless,
        lambda _self: 7,
        lambda _self: None,
        lambda _self: b"bytes",
    ],
)
def test_an_unreadable_text_is_replaced(to_str: Callable[[Any], Any]) -> None:
    assert describe_error(error_with_text(to_str)) == f"Own: {UNREADABLE}"
    assert describe_error(error_with_text(to_str, RetryLater)) == UNREADABLE
    assert safe_text(error_with_text(to_str)) == UNREADABLE


@pytest.mark.parametrize(
    ("text", "text_shown"),
    [
        ("two\nlines\r\n and\ttabs", "two lines and tabs"),
        ("half \ud83d here", "half \ufffd here"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07\x00\x07\x9b2J", "red 2J"),
        ("\u202eturned\u2066 round", "turned round"),
        ("Authorization: Bearer abcdefgh12345", "Authorization: Bearer [redacted]"),
        ("xo\x1b[0mxb-1234567890-abc", "[redacted]"),
        ("", ""),
    ],
)
def test_a_text_is_one_line_that_can_be_shown_and_stored(text: str, text_shown: str) -> None:
    assert safe_text(ValueError(text)) == text_shown


def test_no_secret_becomes_another_word_on_one_line() -> None:
    register_secret("canaryontwolines")
    assert safe_text(ValueError("no canary\nontwolines here")) == "no [redacted] here"


def test_megabytes_are_cut_and_no_secret_is_cut_in_two() -> None:
    assert len(safe_text("eyJ" * 3_000_000)) <= MAX_ERROR_TEXT
    assert safe_text("x" * 10_000_000).endswith("…")
    secret = "longsecret" * 20
    register_secret(secret)
    for pad in range(0, 65_536, 8_000):
        assert "longsecret" not in safe_text("\n" * pad + secret * 400)


def test_a_text_with_methods_of_its_own_is_only_its_characters() -> None:
    class Odd(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self

        def encode(self, *_: object) -> bytes:
            raise RuntimeError

        split = isprintable = __getitem__ = __len__ = encode  # type: ignore[assignment]

    assert safe_text(Odd("as it is")) == "as it is"


class Nameless(type):
    """A metaclass that hides the name of its classes."""

    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__"):
            raise RuntimeError(name)
        return super().__getattribute__(name)


def test_the_name_is_read_from_the_class_itself() -> None:
    class Own(Exception, metaclass=Nameless):
        pass

    odd = type("\x1b[2J", (Exception,), {"__module__": 7})
    assert (error_name(Own()), describe_error(Own("x"))) == ("Own", "Own: x")
    assert (error_name(odd()), error_kind(odd())) == ("?", "7.")
    assert error_kind(KeyError()) == "builtins.KeyError"


def test_errors_of_ours_are_their_words_and_others_say_their_type() -> None:
    assert describe_error(RetryLater("busy")) == "busy"
    assert describe_error(RetryLater()) == "RetryLater"
    assert describe_error(ValueError("bad")) == "ValueError: bad"
    assert describe_error(ValueError()) == "ValueError"


def test_objects_that_cannot_be_compared_are_not_equal() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise SystemExit

        __hash__ = None  # type: ignore[assignment]

    assert is_equal([1], [1])
    assert not is_equal([1], [2])
    assert not is_equal(Odd(), Odd())


@given(st.text(st.characters(codec=None)))
def test_any_text_is_made_harmless(text: str) -> None:
    text_shown = safe_text(ValueError(text))
    text_shown.encode()
    assert len(text_shown) <= MAX_ERROR_TEXT
    assert "\n" not in text_shown
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text_shown)
