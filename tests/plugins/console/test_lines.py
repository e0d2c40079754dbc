"""The console's texts: no output of a task controls the terminal or forges a line."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain.events import AgentStartedEvent
from aintandem_notify_console.lines import MAX_LINE_CHARACTERS, body_lines, plain_line, safe, safe_title
from support.plugin_samples import NOON, failed_task

ANY_TEXT = st.text(st.characters(codec=None))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("häßlich 日本語 🎉", "häßlich 日本語 🎉"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bcreset", "reset"),
        ("\x1b[31", "31"),
        ("\x9b31m", "31m"),
        ("\x1b]0;never ended", "0;never ended"),
        ("a\nb\r\nc\td", "a\\nb\\nc\\td"),
        ("bell\x07 back\x08 del\x7f", "bell back del"),
        ("a\u2028b\u2029c", "abc"),
        ("user\u202egnp.exe", "usergnp.exe"),
        ("\u2066x\u2069\u200f\u061c\ufeff", "x"),
        ("half \ud83d", "half "),
        ("[bold]no markup[/bold] :smile:", "[bold]no markup[/bold] :smile:"),
    ],
)
def test_terminal_control_is_removed(text: str, expected: str) -> None:
    assert safe(text) == expected


@given(ANY_TEXT)
def test_no_text_keeps_a_control_character(text: str) -> None:
    result = safe(text)

    assert not [character for character in result if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}]


def test_a_long_title_is_cut() -> None:
    assert safe_title("x" * 201) == "x" * 199 + "…"
    assert safe_title("x" * 200) == "x" * 200


LINES = "first\nsecond\nthird\nfourth\nfifth"


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (9, ["first", "second", "third", "fourth", "fifth"]),
        (5, ["first", "second", "third", "fourth", "fifth"]),
        (4, ["first", "… 1 more line", "third", "fourth", "fifth"]),
        (2, ["first", "… 3 more lines", "fifth"]),
        (1, ["first", "… 4 more lines"]),
        (0, []),
    ],
)
def test_a_long_body_keeps_its_first_line_and_its_last_ones(limit: int, expected: list[str]) -> None:
    assert body_lines(LINES, limit) == expected


@pytest.mark.parametrize("body", ["", "\n", "  \r\n "])
def test_an_empty_body_has_no_lines(body: str) -> None:
    assert body_lines(body, 5) == []


def test_a_progress_bar_is_many_lines_and_tabs_are_columns() -> None:
    assert body_lines("10%\r20%\r30%\nname\tsize  \n", 5) == ["10%", "20%", "30%", "name    size"]


def test_an_endless_line_is_cut() -> None:
    (line,) = body_lines("x" * 10_000_000, 5)

    assert line == "x" * (MAX_LINE_CHARACTERS - 1) + "…"


def test_the_plain_line_has_its_columns_between_tabs() -> None:
    assert plain_line(failed_task(body="no space\non /data"), 8) == (
        "2026-03-01T12:00:05Z\terror\ttask_failed\tSales pipeline\tNightly import failed\tno space\\non /data\n"
    )


def test_the_plain_line_of_an_agents_event_has_a_dash_for_the_project() -> None:
    agent = failed_task(event=AgentStartedEvent(timestamp=NOON), run=None, project=None, title="Up", body="")

    assert plain_line(agent, 8) == "2026-03-01T12:00:05Z\terror\tagent_started\t-\tUp\t\n"


@given(ANY_TEXT, ANY_TEXT)
def test_a_plain_line_has_six_columns_for_any_texts(title: str, body: str) -> None:
    line = plain_line(failed_task(title=title, body=body), 5)

    assert line.endswith("\n")
    assert len(line[:-1].splitlines()) == 1
    assert len(re.findall("\t", line)) == 5
