"""Measuring, cutting and escaping text for Slack."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify_slack.text import clean, code, escape, escaped, length, one_line, plain
from support.slack_rules import length as strict_length
from support.slack_rules import markup_is_clean

_TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text("`&<>\n aé😀")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a & b < c > d", "a &amp; b &lt; c &gt; d"),
        ("<!channel> <@U123> <https://evil|good>", "&lt;!channel&gt; &lt;@U123&gt; &lt;https://evil|good&gt;"),
        ("&amp;", "&amp;amp;"),
        ("\"quotes\" 'and' *stars* stay", "\"quotes\" 'and' *stars* stay"),
    ],
)
def test_exactly_three_characters_are_escaped(text: str, expected: str) -> None:
    assert escape(text) == expected


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("a&b", 7, "a&amp;b"),
        ("a&b", 6, "a…"),
        ("a&bc", 7, "a&amp;…"),
        ("&&", 9, "&amp;…"),
        ("<<<", 5, "&lt;…"),
        ("😀😀", 3, "😀…"),
        ("ab  cd", 5, "ab…"),
    ],
)
def test_cut_before_escaping_and_never_inside_an_entity(text: str, limit: int, expected: str) -> None:
    assert escaped(text, limit) == expected


@given(_TEXTS, st.integers(2, 60))
def test_escaped_text_is_within_its_limit_and_clean(text: str, limit: int) -> None:
    result = escaped(text, limit)
    assert strict_length(result) <= limit
    assert "```" not in result
    assert markup_is_clean(result)


@given(_TEXTS, st.integers(2, 60))
def test_plain_text_is_within_its_limit(text: str, limit: int) -> None:
    result = plain(text, limit)
    assert strict_length(result) <= limit
    assert result == text or (result.endswith("…") and text.startswith(result[:-1]))


@given(_TEXTS, st.integers(20, 60))
def test_nothing_breaks_out_of_a_code_block(text: str, limit: int) -> None:
    result = code(text, limit)
    assert strict_length(result) <= limit
    assert result.startswith("```\n")
    assert result.endswith("\n```")
    assert result.count("```") == 2
    assert markup_is_clean(result)


@pytest.mark.parametrize("backticks", range(1, 12))
def test_a_fence_in_a_code_block_keeps_its_look(backticks: int) -> None:
    result = code("`" * backticks, 200)
    assert result[4:-4].replace("\u200b", "") == "`" * backticks
    assert result.count("```") == 2


def test_a_long_text_in_a_code_block_loses_its_middle() -> None:
    text = "Traceback\n" + "frame\n" * 100 + "KeyError: <a>\n"
    assert code(text, 60) == "```\nTraceback\nfra\n…\nrame\nframe\nframe\nKeyError: &lt;a&gt;\n```"


@given(_TEXTS)
def test_length_counts_as_strictly_as_anybody(text: str) -> None:
    assert length(text) == strict_length(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2K\x1b[1Gline", "line"),
        ("\x1b]0;window title\x07text", "text"),
        ("\x1b]8;;https://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("10%\r50%\r100%\ndone", "100%\ndone"),
        ("one\r\ntwo\r\n", "one\ntwo\n"),
        ("a\0b\x08c\x7fd\x9be", "abcde"),
        ("tab\tand\nbreak", "tab\tand\nbreak"),
        ("lone \ud83d surrogate", "lone  surrogate"),
    ],
)
def test_a_text_is_cleaned_as_a_terminal_shows_it(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text(st.characters() | st.sampled_from("\x1b[]m\r\n;\x07")))
def test_cleaned_text_can_be_sent_anywhere(text: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", clean(text))


def test_megabytes_are_not_looked_at() -> None:
    assert length(clean("x" * 10_000_000)) <= 50_000


def test_one_line() -> None:
    assert one_line(" a\n\tb\x1b[0m  c ") == "a b c"
