"""Long texts are truncated to their beginning and end, and no half of a secret is left at the edges."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain import truncation
from aintandem_notify.domain.events import restore_event
from aintandem_notify.domain.truncation import (
    HEAD_CHARACTERS,
    TAIL_CHARACTERS,
    fit_event,
    truncate,
    truncate_value,
)
from aintandem_notify.log import redact_start, register_secret
from support.outbox import event

SECRET = "s3cr3t-canary-0123456789-abcdefghijklmnop"


@pytest.fixture(autouse=True)
def known_secret() -> None:
    register_secret(SECRET)


@given(st.text(max_size=200))
def test_a_short_text_stays_as_it_is(text: str) -> None:
    assert truncate(text) == text
    assert truncate_value({"a": [text]}) == {"a": [text]}


def test_a_long_text_keeps_its_beginning_and_end_and_the_number_left_out() -> None:
    text = "".join(f"{number:06} " for number in range(100_000))

    shorter = truncate(text)

    assert shorter.startswith(text[:HEAD_CHARACTERS] + "\n[692,000 characters left out]\n")
    assert shorter.endswith("\n" + text[-TAIL_CHARACTERS:])


def test_a_long_value_becomes_its_text() -> None:
    value = {"rows": list(range(100_000))}

    assert truncate_value(value).startswith('{"rows": [0, 1, 2')
    assert truncate_value(value).endswith("99998, 99999]}")
    assert truncate_value(7) == 7
    assert truncate_value(None) is None


@pytest.mark.parametrize("filling", ["x", "x ", "line\n"])
@pytest.mark.parametrize("edge", [HEAD_CHARACTERS, -TAIL_CHARACTERS])
def test_no_half_of_a_secret_is_left_where_a_text_is_cut(edge: int, filling: str) -> None:
    text = filling * (100_000 // len(filling))
    for shift in range(-len(SECRET) - 1, 3):
        place = edge + shift if edge > 0 else len(text) + edge + shift
        shorter = truncate(text[:place] + SECRET + text[place + len(SECRET) :])
        for start in range(len(SECRET) - 5):
            assert SECRET[start : start + 6] not in shorter


def test_no_half_of_a_secret_is_left_among_many() -> None:
    shorter = truncate(SECRET * 5000)

    assert "canary" not in shorter.replace("[redacted]", "")
    assert len(shorter) < HEAD_CHARACTERS + TAIL_CHARACTERS + 100


@pytest.mark.parametrize(
    "fields",
    [
        {"error": "x" * 1_000_000},
        {"error": "begin" + "x" * 1_000_000 + "end", "other": {"a": ["y" * 1_000_000]}},
        {f"field{number}": "z" * 50_000 for number in range(40)},
        {"numbers": list(range(100_000))},
        {"k" * 1_000_000: 1},
    ],
    ids=["text", "nested", "many", "numbers", "key"],
)
def test_an_event_is_cut_under_its_own_key(fields: dict[str, Any]) -> None:
    whole = event("task_failed", "t1", **fields)
    shorter = fit_event(whole, 200_000)

    assert len(shorter.wire_json) <= 200_000
    assert (shorter.type, shorter.run_id, shorter.timestamp) == ("task_failed", "t1", whole.timestamp)
    assert shorter.key == whole.key
    assert restore_event(shorter.wire(), shorter.key).key == whole.key
    assert fit_event(whole, 10_000_000) is whole


def test_each_text_of_a_long_event_is_redacted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def start(text: str, length: int) -> str:
        looked.append(len(text))
        return redact_start(text, length)

    monkeypatch.setattr(truncation, "redact_start", start)
    shorter = fit_event(event("task_failed", "t1", more=[f"{SECRET} " * 10_000] * 20), 200_000)

    assert len(shorter.wire_json) <= 200_000
    assert SECRET not in shorter.wire_json
    assert len(looked) == 2 * 20  # in the field, and in the wire form


def test_a_long_event_keeps_as_much_of_its_text_as_there_is_room_for() -> None:
    shorter = fit_event(event("task_failed", "t1", error="begin" + "x" * 1_000_000 + "end"), 200_000)

    error = getattr(shorter, "error", "")
    assert error.startswith("begin")
    assert error.endswith("end")
    assert 130_000 < len(error) < 135_000
