"""Formatting times for people, and parsing them."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.cli.times import ago, local, parse_time

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "now"),
        (0.9, "now"),
        (1, "1 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (86_399, "23 h ago"),
        (86_400 * 400, "400 d ago"),
        (-0.5, "now"),
        (-90, "in 1 min"),
        (-7200, "in 2 h"),
    ],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == words


def test_a_local_time_with_its_age() -> None:
    text = local(NOW, NOW + timedelta(minutes=3))
    assert text == f"{NOW.astimezone():%Y-%m-%d %H:%M:%S} (3 min ago)"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("500ms", NOW - timedelta(milliseconds=500)),
        ("2026-03-01T10:30:00Z", NOW - timedelta(minutes=90)),
        ("2026-03-01T12:00+02:00", NOW - timedelta(hours=2)),
        ("2026-02-28", datetime(2026, 2, 28).astimezone()),  # local is meant
        ("2026-02-28T08:00", datetime(2026, 2, 28, 8).astimezone()),
    ],
)
def test_a_moment_is_written_as_an_age_or_a_time(text: str, moment: datetime) -> None:
    assert parse_time(text, NOW) == moment


@given(st.text(max_size=30))
def test_anything_else_is_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_time(text, NOW).tzinfo is not None


@pytest.mark.parametrize("text", ["yesterday", "", "2h ago", "36500d1h", "9999999d", "2026-13-01"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|month"):
        parse_time(text, NOW)
