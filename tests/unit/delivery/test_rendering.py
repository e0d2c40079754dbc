"""The notification for the plugin: unchanged, with the destination that it stands in for, or as plain text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import force_setattr
from structlog.testing import capture_logs

from aintandem_notify.delivery import rendering
from aintandem_notify.delivery.rendering import (
    MAX_PLAIN_BODY,
    MAX_PLAIN_TITLE,
    as_plain,
    plain_text,
    render_claim,
)
from aintandem_notify.domain.notification import Field, Notification
from aintandem_notify.domain.samples import sample_notification
from aintandem_notify.store import Claim
from support.outbox import NOW


def claim(notification: Notification, *, plain: bool = False, instead_of: str | None = None) -> Claim:
    return Claim(1, "slack.b", notification, NOW, plain=plain, instead_of=instead_of)


def test_an_ordinary_claim_is_handed_over_as_it_is() -> None:
    notification = sample_notification("task_failed")
    assert render_claim(claim(notification)) == notification


def test_what_a_plugin_does_to_its_notification_no_other_sees() -> None:
    notification = sample_notification("task_failed")
    before = notification.model_dump_json()
    mine = render_claim(claim(notification))
    mine.__dict__["title"] = 7
    force_setattr(mine.event, "error", object())
    mine.event.wire()["error"] = object()
    assert notification.model_dump_json() == before
    assert render_claim(claim(notification)).model_dump_json() == before


def test_a_field_says_whom_the_destination_stands_in_for() -> None:
    notification = sample_notification("task_failed")
    rendered = render_claim(claim(notification, instead_of="slack.team"))
    assert (rendered.id, rendered.instead_of) == (notification.id, "slack.team")
    assert rendered.fields == (*notification.fields, Field("Instead of", "slack.team"))


def test_the_last_try_is_title_and_body_alone() -> None:
    notification = sample_notification(
        "task_failed",
        title="\x1b[31mImport\x1b[0m\nfailed \u202e" + "x" * 999,
        body="disk\x00 full\n" + "y" * 9999,
        url="https://console.example/1",
        mentions=("here",),
    )
    plain = render_claim(claim(notification, plain=True))
    assert plain.title.startswith("Import failed xxx")
    assert len(plain.title) == MAX_PLAIN_TITLE
    assert plain.body.startswith("disk full\nyyy")
    assert len(plain.body) <= MAX_PLAIN_BODY + 4
    assert (plain.fields, plain.url, plain.mentions, plain.plain) == ((), None, (), True)
    assert plain.run is not None
    assert plain.run.output_tail == ""
    assert (plain.id, plain.thread, plain.event) == (notification.id, notification.thread, notification.event)


@pytest.mark.parametrize("title", ["", "\x00\x1b[0m", "\u200b\ue000"])
def test_a_title_that_nothing_is_left_of_gives_way_to_the_type(title: str) -> None:
    assert as_plain(sample_notification("task_failed", title=title)).title == "task_failed"


@given(st.text(st.characters(), max_size=200))
def test_plain_text_can_be_sent_anywhere(text: str) -> None:
    plain = plain_text(text)
    plain.encode()
    assert all(char in "\n\t" or unicodedata.category(char)[0] != "C" for char in plain)


@pytest.mark.parametrize("plain", [False, True])
def test_a_text_that_nobody_can_present_is_no_reason_to_keep_still(
    plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_args: object) -> str:
        raise AssertionError

    monkeypatch.setattr(rendering, "Field", raises)
    monkeypatch.setattr(rendering, "plain_text", raises)
    notification = sample_notification("task_failed", body="the body", url="https://console.example/1")
    with capture_logs() as logs:
        sent = render_claim(claim(notification, plain=plain, instead_of="slack.team"))
    assert (sent.id, sent.thread, sent.severity) == (notification.id, notification.thread, notification.severity)
    assert (sent.title, sent.plain, sent.instead_of, sent.url) == ("Task failed", plain, "slack.team", None)
    assert (sent.event.key, sent.event.run_id) == (notification.event.key, notification.event.run_id)
    assert [line["id"] for line in logs] == [notification.id]
