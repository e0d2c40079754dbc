"""Tables lose nothing, stay within their width if possible, and have whole lines without a width."""

from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.cli.tables import GAP, MIN_WIDTH, hanging_lines, table_lines

WORDS = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=30)
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)
ROWS = st.lists(st.tuples(st.text("abc-.", max_size=12), st.text("abc-.", max_size=12), TEXTS), max_size=8)


@given(ROWS, st.none() | st.integers(1, 200))
def test_no_word_is_lost_or_cut(rows: list[tuple[str, str, str]], width: int | None) -> None:
    written = " ".join(table_lines(rows, width)).split()
    assert written == [word for row in rows for cell in row for word in cell.split()]


@given(ROWS)
def test_without_a_width_each_row_is_a_line(rows: list[tuple[str, str, str]]) -> None:
    assert len(list(table_lines(rows))) == len(rows)


@given(ROWS, st.integers(60, 200))
def test_a_line_is_too_long_only_for_a_word_that_is(rows: list[tuple[str, str, str]], width: int) -> None:
    for line in table_lines(rows, width):
        assert len(line) <= width


def test_columns_are_aligned_and_what_is_too_long_goes_on_below_itself() -> None:
    rows = [("a", "yes", "one two three four five six"), ("slack.team", "no", "")]
    assert list(table_lines(rows, 40)) == [
        "a           yes  one two three four five",
        "                 six",
        "slack.team  no",
    ]


def test_the_last_column_keeps_some_room_on_the_narrowest_terminal() -> None:
    first, *others = hanging_lines("x" * 30 + GAP, "word " * 8, 20)
    assert first.startswith("x" * 30 + GAP + "word")
    assert all(len(line) <= 32 + MIN_WIDTH for line in (first, *others))


def test_no_rows_are_no_lines() -> None:
    assert list(table_lines([])) == []
