"""Numbers, times and texts formatted for people."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.rules import formats


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (-1, "0 ms"),
        (0.0004, "0 ms"),
        (0.85, "850 ms"),
        (0.9999, "1 s"),
        (1, "1 s"),
        (42.4, "42 s"),
        (59.7, "1 min"),
        (60, "1 min"),
        (130, "2 min 10 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (11_100, "3 h 5 min"),
        (86_400, "1 d"),
        (100 * 3600, "4 d 4 h"),
        (365 * 86_400, "365 d"),
    ],
)
def test_a_duration_shows_the_two_units_that_matter(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


@given(st.floats(0, 1e9))
def test_a_duration_never_has_more_than_two_units(seconds: float) -> None:
    assert len(formats.duration(seconds).split()) in (2, 4)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (99_940, "99.9 KB"),
        (123_456, "123 KB"),
        (999_600, "1.0 MB"),
        (1_234_567, "1.2 MB"),
        (5_000_000_000, "5.0 GB"),
        (10**16, "10000 TB"),
    ],
)
def test_a_size_has_two_or_three_digits(count: int, text: str) -> None:
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        ("a\nb", "a\nb"),
        ({}, ""),
        ([], ""),
        ({"ä": [1]}, '{\n  "ä": [\n    1\n  ]\n}'),
        (0, "0"),
        (1.5, "1.5"),
        (True, "true"),
    ],
)
def test_a_json_value_reads_as_text(value: object, text: str) -> None:
    assert formats.as_text(value) == text


@given(st.text(), st.integers(2, 50))
def test_one_line_is_one_line_within_its_limit(text: str, limit: int) -> None:
    line = formats.one_line(text, limit)
    assert len(line) <= limit
    assert line.splitlines() in ([], [line])


def test_a_long_text_keeps_its_beginning_and_more_of_its_end() -> None:
    text = "\n".join(f"line {number}" for number in range(1000))
    cut = formats.cut_middle(text, 400)
    assert cut.startswith("line 0\n")
    assert cut.endswith("line 999")
    assert len(cut) <= 400 + len("\n[…]\n")
    assert cut.count("[…]") == 1
    assert formats.cut_middle("short", 400) == "short"


def test_a_text_that_is_cut_at_its_end_says_so() -> None:
    assert formats.cut_end("x" * 11, 10) == "x" * 10 + "\n[…]"
    assert formats.cut_end("x" * 10, 10) == "x" * 10


def test_half_a_token_is_never_left() -> None:
    token = "eyJ" + "h" * 40 + ".payload.signature"  # a complete JWT is redacted, a part of one is not
    for padding in range(120):
        text = "x" * padding + " " + token
        for cut in (
            formats.one_line(text, 60),
            formats.cut_end(text, 60),
            formats.cut_middle(text + "y" * 100, 60),
        ):
            assert "hhh" not in cut


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (math.inf, "11574074 d 1 h"),
        (1e308, "11574074 d 1 h"),
        (math.nan, "0 ms"),
        (-1e308, "0 ms"),
    ],
)
def test_a_duration_that_is_none_is_text_all_the_same(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


def test_a_size_that_is_none_is_text_all_the_same() -> None:
    assert formats.size(10**400) == formats.size(10**27)
    assert formats.size(-(10**400)).endswith(" bytes")
