"""The popup for a desktop: texts cut and cleaned, urgency and times in the protocol's units."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.api import DestinationBroken, Notification, Rejected, RetryLater, Severity
from aintandem_notify.domain.events import AgentStartedEvent
from aintandem_notify_desktop_notify import Config
from aintandem_notify_desktop_notify.freedesktop import (
    ICONS,
    NAME,
    URGENCY,
    body_for,
    expire_ms,
    outcome,
    replaced_id,
)
from aintandem_notify_desktop_notify.lasting import LastingPopups
from aintandem_notify_desktop_notify.popup import (
    MAX_BODY_CHARACTERS,
    MAX_BODY_LINES,
    MAX_SUMMARY_CHARACTERS,
    Popup,
    popup_of,
)
from support.dbus_service import markup_flaw
from support.plugin_samples import NOON, failed_task

MARKUP = frozenset({"body", "body-markup"})


def popup(notification: Notification) -> Popup:
    return popup_of(notification, app_name="AInTandem", icon=None, expire_timeout=None)


def with_body(body: str, url: str | None = None) -> Popup:
    return Popup(app_name="A", summary="x", body=body, severity=Severity.INFO, url=url)


def test_the_title_stands_on_top_and_the_project_before_the_body() -> None:
    result = popup(failed_task(body="no space left\non /data", url="https://console.example"))

    assert result == Popup(
        app_name="AInTandem",
        summary="Nightly import failed",
        body="Sales pipeline\nno space left\non /data",
        severity=Severity.ERROR,
        url="https://console.example",
    )


def test_a_project_that_the_title_names_is_not_named_again() -> None:
    assert popup(failed_task(title="No connection to project Sales pipeline", body="refused")).body == "refused"


def test_the_agents_own_news_have_no_project() -> None:
    agent = failed_task(event=AgentStartedEvent(timestamp=NOON), run=None, project=None, body="2 projects")

    assert popup(agent).body == "2 projects"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m \x1b]0;t\x07text", "red text"),
        ("nul\x00 bell\x07 c1\x9b del\x7f", "nul bell c1 del"),
        ("tab\there", "tab here"),
        ("turned\u202e round\u2066", "turned round"),
        ("half \ud83d", "half \ufffd"),
        ("日本語 🎉 <b>", "日本語 🎉 <b>"),
        ("first\r\n\n  second  \u2028third", "first second third"),
    ],
)
def test_a_title_is_one_line_that_can_be_shown(text: str, expected: str) -> None:
    assert popup(failed_task(title=text)).summary == expected


def test_a_long_title_is_cut() -> None:
    assert popup(failed_task(title="t" * 5000)).summary == "t" * (MAX_SUMMARY_CHARACTERS - 1) + "…"


@pytest.mark.parametrize(
    ("body", "sign"),
    [
        ("line\n" * 8, "… 2 more lines"),
        ("line\n" * 50, "… 44 more lines"),
        ("line\n\n \n" * 9, "… 3 more lines"),
        ("line\n" * 100_000, "… 99,994 more lines"),
        (f"{'a' * 300}\n{'b' * 300}\n{'c' * 300}\nd", "… 2 more lines"),
        ("b" * 5000, None),
        ("b" * 1_000_000, None),
        (f"{'a' * 300}\n{'b' * 300}", None),
    ],
)
def test_a_body_that_is_cut_says_how_much_is_missing(body: str, sign: str | None) -> None:
    shown = popup(failed_task(body=body)).body
    *kept, last = shown.splitlines()

    assert len(shown) <= MAX_BODY_CHARACTERS
    assert len(kept) < MAX_BODY_LINES
    assert kept[0] == "Sales pipeline"
    if sign is not None:
        assert last == sign
        return
    # A line that is cut itself ends in an ellipsis, and its own missing characters are counted.
    assert kept[-1].endswith("…")
    left_out = len(f"Sales pipeline\n{body}") - len("\n".join(kept).removesuffix("…"))
    assert last == f"… {left_out:,} more characters"


def test_a_list_that_ends_in_a_number_of_its_own_gets_no_second_one() -> None:
    titles = "\n".join(f"• Task {number} failed" for number in range(15))
    shown = popup(failed_task(body=f"{titles}\n… and 485 more")).body
    assert shown.splitlines()[-2:] == ["• Task 5 failed", "… and more"]


@pytest.mark.parametrize(
    "body", ["line\n" * 7, "b" * (MAX_BODY_CHARACTERS - len("Sales pipeline\n")), "a" + " " * 50_000]
)
def test_a_body_that_fits_is_shown_whole(body: str) -> None:
    assert popup(failed_task(body=body)).body == f"Sales pipeline\n{body.strip()}"


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_any_text_can_be_sent_and_is_sound_markup(title: str, body: str) -> None:
    result = popup(failed_task(title=title, body=body))

    for text in (result.summary, result.body):
        assert "\x00" not in text
        text.encode("utf-8")
        assert len(text) <= MAX_BODY_CHARACTERS
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", result.body)
    # XML 1.0, which checks the markup here, excludes these two; the protocol allows them.
    assert markup_flaw(re.sub("[\ufffe\uffff]", "", body_for(result, MARKUP)), MARKUP) is None


@pytest.mark.parametrize(
    ("text", "markup", "plain"),
    [
        ("a < b & c > d", "a &lt; b &amp; c &gt; d", "a < b & c > d"),
        ("<b>bold</b>", "&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ('<a href="x">link</a>', '&lt;a href="x"&gt;link&lt;/a&gt;', "link"),
        ('<img src="x" alt="y"/>', '&lt;img src="x" alt="y"/&gt;', ""),
        ("dict<int>, <bits>", "dict&lt;int&gt;, &lt;bits&gt;", "dict<int>, <bits>"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;", "&lt;b&gt;"),
    ],
)
def test_a_body_is_escaped_for_servers_with_markup_and_stripped_for_others(
    text: str, markup: str, plain: str
) -> None:
    assert body_for(with_body(text), MARKUP) == markup
    assert body_for(with_body(text), frozenset({"body"})) == plain


def test_a_link_needs_a_server_that_shows_links() -> None:
    linked = with_body("", url="https://x.example/?a&b")

    assert body_for(linked, MARKUP) == ""
    assert body_for(linked, MARKUP | {"body-hyperlinks"}) == (
        '<a href="https://x.example/?a&amp;b">Show in the console</a>'
    )


@pytest.mark.parametrize(
    ("severity", "urgency", "icon"),
    [
        (Severity.INFO, 0, "dialog-information"),
        (Severity.SUCCESS, 1, "dialog-information"),
        (Severity.WARNING, 1, "dialog-warning"),
        (Severity.ERROR, 2, "dialog-error"),
        (Severity.CRITICAL, 2, "dialog-error"),
    ],
)
def test_each_severity_has_its_urgency_and_icon(severity: Severity, urgency: int, icon: str) -> None:
    assert (URGENCY[severity], ICONS[severity]) == (urgency, icon)


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(None, -1), (0.0, 0), (0.25, 250), (15.0, 15_000), (1e9, 2**31 - 1)]
)
def test_times_are_the_protocols(seconds: float | None, milliseconds: int) -> None:
    assert expire_ms(seconds) == milliseconds


PLACE = {"bus": "b", "server": ":1.2"}


@pytest.mark.parametrize(
    ("previous", "expected"),
    [
        (None, 0),
        ({}, 0),
        ({"id": 7}, 0),
        ({"id": 7, **PLACE}, 7),
        ({"id": 7, **PLACE, "server": ":1.3"}, 0),
        ({"id": 7, **PLACE, "bus": "other"}, 0),
        ({**PLACE}, 0),
        ({"id": "7", **PLACE}, 0),
        ({"id": True, **PLACE}, 0),
        ({"id": -1, **PLACE}, 0),
        ({"id": 2**32, **PLACE}, 0),
    ],
)
def test_an_id_is_replaced_only_where_it_was_given(previous: dict[str, Any] | None, expected: int) -> None:
    assert replaced_id(previous, PLACE) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("org.freedesktop.DBus.Error.ServiceUnknown", RetryLater),
        ("org.freedesktop.DBus.Error.NameHasNoOwner", RetryLater),
        ("org.freedesktop.DBus.Error.NoReply", RetryLater),
        ("org.freedesktop.DBus.Error.Timeout", RetryLater),
        ("org.freedesktop.DBus.Error.TimedOut", RetryLater),
        ("org.freedesktop.DBus.Error.Disconnected", RetryLater),
        ("org.freedesktop.DBus.Error.Spawn.ChildExited", RetryLater),
        ("org.freedesktop.DBus.Error.LimitsExceeded", RetryLater),
        ("org.freedesktop.DBus.Error.NoMemory", RetryLater),
        (f"{NAME}.Error.ExcessNotificationGeneration", RetryLater),
        ("org.freedesktop.DBus.Error.AccessDenied", DestinationBroken),
        ("org.freedesktop.DBus.Error.AuthFailed", DestinationBroken),
        ("org.freedesktop.DBus.Error.UnknownMethod", DestinationBroken),
        ("org.freedesktop.DBus.Error.UnknownObject", DestinationBroken),
        ("org.freedesktop.DBus.Error.UnknownInterface", DestinationBroken),
        ("org.freedesktop.DBus.Error.InvalidArgs", Rejected),
        ("org.freedesktop.DBus.Error.Failed", RuntimeError),
        ("com.example.Whatever", RuntimeError),
    ],
)
def test_each_error_has_its_outcome_and_reason(name: str, expected: type[Exception]) -> None:
    error = outcome(name, "why")

    assert type(error) is expected
    assert f"{name}: why" in str(error)


def test_news_of_more_than_an_hour_ago_is_dropped_by_default() -> None:
    assert Config().max_age == 3600.0
    assert Config().timeout == 10.0
    assert Config.model_validate({"max_age": "5m", "timeout": "3s"}).max_age == 300.0


def test_the_summary_of_many_failures_fits_into_a_popup() -> None:
    lasting = LastingPopups(0)
    for number in range(3000):
        failure = popup(failed_task(title=f"{number % 100} {'t' * 500}"))
        summary = lasting.summary_with(failure)
        lasting.record_summary(1, failure)
    assert summary.summary.startswith("3,000 more failures: 99 ttt")
    assert len(summary.body) <= MAX_BODY_CHARACTERS
    assert len(summary.body.splitlines()) == MAX_BODY_LINES
    assert lasting.summarized == 3000
