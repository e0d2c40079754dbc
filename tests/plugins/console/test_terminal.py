"""The console's layout for terminals: its parts, and no line wider than the terminal."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from aintandem_notify.api import Field, Notification, Severity
from aintandem_notify.domain.events import restore_event
from aintandem_notify_console.terminal import SEVERITY_STYLES, Terminal, clock_time
from support.plugin_samples import NOON, failed_task


def render(notification: Notification, *, width: int = 80, unicode: bool = True, limit: int = 8) -> str:
    terminal = Terminal(colours=False, unicode=unicode, zone=UTC)
    return terminal.render(notification, width=width, limit=limit, now=NOON)


def test_a_block_has_time_title_project_and_body() -> None:
    failed = failed_task(
        body="no space left\ncopying 7 of 9",
        fields=(Field("Duration", "42s"), Field("Attempt", "2")),
        url="https://console.example/projects/project-123",
    )

    assert render(failed) == (
        "12:00:05 ✖ Nightly import failed  Sales pipeline  Duration 42s · Attempt 2\n"
        "           │ no space left\n"
        "           │ copying 7 of 9\n"
        "           https://console.example/projects/project-123\n"
    )


def test_without_unicode_it_is_drawn_in_ascii() -> None:
    failed = failed_task(fields=(Field("Duration", "42s"), Field("Attempt", "2")))

    assert render(failed, unicode=False) == (
        "12:00:05 x Nightly import failed  Sales pipeline  Duration 42s - Attempt 2\n           | no space left\n"
    )


def test_facts_that_the_head_says_already_are_left_out() -> None:
    fields = (
        Field("Project", "Sales pipeline"),
        Field("Id", "project-123"),
        Field("None", ""),
        Field("Step", "load"),
    )

    assert render(failed_task(body="", fields=fields)) == (
        "12:00:05 ✖ Nightly import failed  Sales pipeline  Step load\n"
    )


def test_facts_that_do_not_fit_beside_the_title_stand_below_it() -> None:
    failed = failed_task(body="", fields=(Field("Duration", "42s"), Field("Attempt", "2")))
    below = "12:00:05 ✖ Nightly import failed  Sales pipeline\n           Duration 42s · Attempt 2\n"

    assert render(failed, width=74).count("\n") == 1
    assert render(failed, width=73) == below


def test_a_project_that_the_title_names_is_not_named_twice() -> None:
    assert render(failed_task(title="Connected to project Sales pipeline", body="")) == (
        "12:00:05 ✖ Connected to project Sales pipeline\n"
    )


def test_a_caught_up_event_is_marked_once() -> None:
    old = restore_event(failed_task().event.wire() | {"caughtUp": True})

    assert render(failed_task(event=old)).count("(caught up)") == 1
    assert render(failed_task(event=old, title="Import failed (caught up)")).count("(caught up)") == 1
    assert "(caught up)" not in render(failed_task())


def test_an_event_of_another_day_shows_its_date_and_stays_aligned() -> None:
    yesterday = Terminal(colours=False, unicode=True, zone=UTC).render(
        failed_task(), width=80, limit=8, now=NOON + timedelta(days=1)
    )

    assert yesterday == ("1 Mar 12:00 ✖ Nightly import failed  Sales pipeline\n              │ no space left\n")


@pytest.mark.parametrize(
    ("moment", "offset", "expected"),
    [
        (datetime(2026, 3, 1, 0, 30, 9, tzinfo=UTC), 0, "00:30:09"),
        (datetime(2026, 3, 1, 0, 30, 9, tzinfo=UTC), 2, "02:30:09"),
        (datetime(2026, 3, 1, 0, 30, 9, tzinfo=UTC), -2, "28 Feb 22:30"),
        (datetime(2026, 2, 28, 23, 0, 9, tzinfo=UTC), 2, "01:00:09"),
    ],
)
def test_times_are_those_of_the_zone(moment: datetime, offset: int, expected: str) -> None:
    now = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

    assert clock_time(moment, now, timezone(timedelta(hours=offset))) == expected


@pytest.mark.parametrize("severity", Severity)
def test_each_severity_has_its_sign_and_colour(severity: Severity) -> None:
    style = SEVERITY_STYLES[severity]
    coloured = Terminal(colours=True, unicode=True, zone=UTC).render(
        failed_task(severity=severity), width=80, limit=8, now=NOON
    )

    first = Text.from_ansi(coloured.splitlines()[0])
    assert first.plain == f"12:00:05 {style.sign} Nightly import failed  Sales pipeline"
    assert "\x1b[" in coloured
    assert style.ascii_sign.isascii()


def test_the_looks_differ() -> None:
    assert len(set(SEVERITY_STYLES.values())) == len(Severity)
    assert len({style.ascii_sign for style in SEVERITY_STYLES.values()}) == len(Severity)


def test_without_colours_there_is_no_escape_sequence() -> None:
    assert "\x1b" not in render(failed_task(severity=Severity.CRITICAL, url="https://x.example"))


def test_markup_of_rich_in_a_text_is_only_text() -> None:
    block = render(failed_task(title="[red]Ada[/red] :boom:", body="[link=https://evil.example]x[/link]\n[/]"))

    assert "[red]Ada[/red] :boom:" in block
    assert "│ [link=https://evil.example]x[/link]" in block


def test_long_lines_wrap_under_themselves() -> None:
    block = render(failed_task(title="Import " + "of everything " * 6, body="word " * 20), width=50)

    continuation = block.splitlines()[1:]
    assert len(continuation) > 3
    assert all(line.startswith(" " * 11) for line in continuation)
    assert all(line == line.rstrip() for line in continuation)


def test_a_link_is_not_wrapped() -> None:
    url = "https://console.example/" + "x" * 100

    assert f" {url}\n" in render(failed_task(url=url), width=50)


@given(
    st.text(st.characters(codec=None)),
    st.text(st.characters(codec=None)),
    st.integers(min_value=40, max_value=120),
)
def test_no_text_escapes_the_block(title: str, body: str, width: int) -> None:
    block = render(failed_task(title=title, body=body), width=width, limit=4)

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", block)
    assert all(cell_len(line) <= width for line in block.splitlines())
    assert all(line.startswith((" " * 11, "12:00:05 ✖")) for line in block.splitlines())
