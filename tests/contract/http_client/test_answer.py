"""The texts, the JSON value and the ``Retry-After`` of an answer."""

import json
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.http_client import HttpAnswer
from aintandem_notify.http_client.answer import MAX_RETRY_AFTER_S
from aintandem_notify.log import register_secret
from support.nasty import pages

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def _asking(value: str) -> HttpAnswer:
    return HttpAnswer(429, {"retry-after": value})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("1.5", 1.5),
        ("30, 30", 30.0),
        ("5,40 , 30", None),
        ("5,40, 30", 40.0),
        ("30,", None),
        ("30, -1", None),
        ("Mon, 05 Jan 2026 09:31:00 GMT, Mon, 05 Jan 2026 09:31:00 GMT", 60.0),
        ("86400", 86400.0),
        ("86401", MAX_RETRY_AFTER_S),
        ("9" * 400, MAX_RETRY_AFTER_S),
        ("Mon, 05 Jan 2026 09:31:00 GMT", 60.0),
        ("Mon, 05 Jan 2026 09:31:00 -0000", 60.0),
        ("Mon, 05 Jan 2026 10:31:00 +0100", 60.0),
        ("Monday, 05-Jan-26 09:31:00 GMT", 60.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Mon, 05 Jan 2026 09:30:00 GMT", 0.0),
        ("Mon, 05 Jan 2026 09:29:59 GMT", None),
        ("-1", None),
        ("+5", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("٣", None),
        ("30 seconds", None),
        ("Mon, 99 Jan 2026 09:31:00 GMT", None),
        ("Mon, 05 Jan 0000 09:31:00 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert _asking(value).retry_after(NOW) == seconds


@pytest.mark.parametrize(
    ("date", "value", "seconds"),
    [
        # A clock 20 hours behind ours, and one 20 hours ahead.
        ("Sun, 04 Jan 2026 13:30:00 GMT", "Sun, 04 Jan 2026 13:30:30 GMT", 30.0),
        ("Tue, 06 Jan 2026 05:30:00 GMT", "Tue, 06 Jan 2026 05:30:30 GMT", 30.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 1970 00:01:00 GMT", 60.0),
        ("Sun, 04 Jan 2026 14:30:00 +0100", "Sun, 04 Jan 2026 13:30:30 GMT", 30.0),
        ("Tue, 06 Jan 2026 05:30:00 GMT", "Tue, 06 Jan 2026 05:29:59 GMT", None),
        ("Sun, 04 Jan 2026 13:30:00 GMT", "Fri, 09 Jan 2026 13:30:30 GMT", MAX_RETRY_AFTER_S),
        ("Sun, 04 Jan 2026 13:30:00 GMT, Sun, 04 Jan 2026 13:30:00 GMT", "Sun, 04 Jan 2026 13:30:30 GMT", 30.0),
        ("Sun, 04 Jan 2026 13:30:00 GMT", "30", 30.0),
        # Without a date that can be read, our own clock counts.
        ("yesterday", "Mon, 05 Jan 2026 09:31:00 GMT", 60.0),
        ("", "Mon, 05 Jan 2026 09:31:00 GMT", 60.0),
        ("Sun, 99 Jan 2026 13:30:00 GMT", "Mon, 05 Jan 2026 09:31:00 GMT", 60.0),
        ("-1", "Mon, 05 Jan 2026 09:31:00 GMT", 60.0),
        ("1767605400", "Mon, 05 Jan 2026 09:31:00 GMT", 60.0),
    ],
)
def test_a_date_counts_from_the_date_of_the_answer(date: str, value: str, seconds: float | None) -> None:
    assert HttpAnswer(429, {"retry-after": value, "date": date}).retry_after(NOW) == seconds


@given(st.text(), st.text())
def test_any_two_dates_are_nothing_or_within_a_day(date: str, value: str) -> None:
    seconds = HttpAnswer(429, {"retry-after": value, "date": date}).retry_after(NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S


def test_no_retry_after() -> None:
    assert HttpAnswer(503, {}).retry_after(NOW) is None


@given(st.text())
def test_retry_after_of_any_text_is_nothing_or_within_a_day(value: str) -> None:
    seconds = _asking(value).retry_after(NOW)
    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= MAX_RETRY_AFTER_S)


@given(st.integers(0, 86400))
def test_retry_after_is_never_earlier_than_the_date(ahead: int) -> None:
    date = NOW.replace(microsecond=0) + timedelta(seconds=ahead)
    assert _asking(format_datetime(date, usegmt=True)).retry_after(NOW) == ahead


def test_the_words_of_an_answer_are_one_line() -> None:
    assert HttpAnswer(400, {}, b"no\r\n such   field\n").words(100) == "no such field"
    assert HttpAnswer(400, {}, b"no such field").words(7) == "no such"


@pytest.mark.parametrize("body", ["{}", "x" + " " * 4000 + "{}", "{}\n", "say\n{}"])
@pytest.mark.parametrize("cut", [0, 1, 5, 12])
def test_the_words_of_an_answer_hold_no_secret_nor_a_part_of_one(body: str, cut: int) -> None:
    secret = "answercanary" + "0123456789ab"
    register_secret(secret)
    text = body.replace("{}", secret).strip()
    text = text[: len(text) - cut]
    assert "answercan" not in HttpAnswer(400, {}, text.encode(), truncated=cut > 0).words(200)


def test_nor_one_that_is_written_on_two_lines() -> None:
    register_secret("answercanaryontwolines")
    assert HttpAnswer(400, {}, b"bad answercanary\nontwolines").words(200) == "bad [redacted]"


def test_text_replaces_bytes_that_are_not_utf8() -> None:
    assert HttpAnswer(200, {}, "né".encode("latin-1")).text == "n\ufffd"


def test_json() -> None:
    assert HttpAnswer(200, {}, b'{"ok": true}').json() == {"ok": True}
    assert HttpAnswer(200, {}, b'\xef\xbb\xbf"with a mark"').json() == "with a mark"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb'{"cut \ud83d": ["\uDE00", 1.5, null]}', {"cut \ufffd": ["\ufffd", 1.5, None]}),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\\ud83d"', "\\ud83d"),
        (b'"\xff \xed\xa0\x80"', "\ufffd \ufffd\ufffd\ufffd"),
    ],
)
def test_values_of_json_can_be_stored(body: bytes, expected: object) -> None:
    content = HttpAnswer(200, {}, body).json()
    assert content == expected
    assert json.dumps(content, ensure_ascii=False).encode()


@pytest.mark.parametrize("page", pages.PAGES.values(), ids=pages.PAGES)
@pytest.mark.parametrize(
    "content_type", ["text/html", "Text/HTML; charset=utf-8", "application/octet-stream", None]
)
def test_a_page_is_known_by_its_body(page: bytes, content_type: str | None) -> None:
    assert HttpAnswer(200, {} if content_type is None else {"content-type": content_type}, page).is_html


@pytest.mark.parametrize("fragment", pages.FRAGMENTS.values(), ids=pages.FRAGMENTS)
def test_a_piece_of_a_page_is_known_if_it_is_called_html(fragment: bytes) -> None:
    assert HttpAnswer(200, {"content-type": "text/html"}, fragment).is_html
    assert not HttpAnswer(200, {"content-type": "text/plain"}, fragment).is_html


@pytest.mark.parametrize("body", pages.NO_PAGES.values(), ids=pages.NO_PAGES)
@pytest.mark.parametrize("content_type", ["text/html", "text/plain", None])
def test_other_bodies_are_no_pages_whatever_they_are_called(body: bytes, content_type: str | None) -> None:
    assert not HttpAnswer(200, {} if content_type is None else {"content-type": content_type}, body).is_html


def test_a_header_that_sends_browsers_away_makes_a_page() -> None:
    assert HttpAnswer(200, {"refresh": "0; url=http://portal.invalid/login"}).is_html


def test_xml_is_no_page() -> None:
    for xml in (b'<?xml version="1.0"?><Response/>', b"<Error><Code>x</Code></Error>", b"<header/>"):
        assert not HttpAnswer(200, {"content-type": "application/xml"}, xml).is_html


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"ok": tr', b"\xff\xfe\x00", b"[" * 200_000])
def test_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # which one depends on the flaw
        HttpAnswer(200, {}, body).json()
