"""JSON that others wrote is read, or refused with one error before it takes too much memory."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.foundation import untrusted_json
from aintandem_notify.foundation.untrusted_json import (
    MAX_DEPTH,
    JsonFlaw,
    UnreadableJson,
    has_more_values,
    is_out_of_memory,
    read_json,
    replace_surrogates,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def flaw_of(content: str | bytes, **limits: Any) -> JsonFlaw | None:
    try:
        read_json(content, **limits)
    except UnreadableJson as error:
        return error.flaw
    return None


def values_in(value: Any) -> int:
    """The number of lists, objects, and commas between items."""
    if not isinstance(value, list | dict):
        return 0
    items = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(0, len(items) - 1) + sum(map(values_in, items))


@given(json_values)
def test_json_is_read_from_text_and_from_bytes(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)

    assert read_json(text) == value
    assert read_json(text.encode()) == value
    assert read_json(b"\xef\xbb\xbf" + text.encode()) == value


@given(json_values, st.integers(0, 40), st.booleans(), st.booleans())
def test_values_are_counted_and_look_alikes_in_strings_are_not(
    value: Any, limit: int, as_bytes: bool, ascii_only: bool
) -> None:
    text = json.dumps([value, '[{,"\\'], ensure_ascii=ascii_only)

    assert has_more_values(text.encode() if as_bytes else text, limit) is (values_in([value, ""]) > limit)


@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("escaped", ["\\", '"', '\\"', "\\\\,", '",['])
def test_values_are_counted_right_where_one_portion_ends_and_the_next_begins(before: int, escaped: str) -> None:
    value = ["x" * before + escaped * 3 + ",,,[[[", {"a": escaped}, escaped]
    text = json.dumps(value)

    assert not has_more_values(text, values_in(value), portion_size=8)
    assert has_more_values(text, values_in(value) - 1, portion_size=8)
    assert not has_more_values(text.encode(), values_in(value), portion_size=8)


@pytest.mark.parametrize(
    "content",
    ["[" + "[]," * 5_000 + "[]]", "[" + "{}," * 5_000 + "1]", '{"a":' * 10_001 + "1" + "}" * 10_001, "," * 10_001],
    ids=["lists", "objects", "depth", "commas"],
)
def test_too_many_values_are_refused_before_they_are_read(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted_json, "_read", _never)

    assert flaw_of(content, max_values=10_000) is JsonFlaw.TOO_MANY_VALUES
    assert flaw_of(content.encode(), max_values=10_000) is JsonFlaw.TOO_MANY_VALUES


def _never(*_: object, **__: object) -> None:
    pytest.fail("it is read")


def test_one_long_text_with_commas_is_one_value() -> None:
    text = json.dumps(["," * 2_000_000])

    assert flaw_of(text, max_values=10) is None
    assert flaw_of(text.encode(), max_values=10) is None


@pytest.mark.parametrize("pieces", ['"a,",', '"\\",', '"\\\\",', "\\", '"'])
def test_counting_takes_little_memory_for_any_text(pieces: str) -> None:
    content = pieces * (4_000_000 // len(pieces))
    tracemalloc.start()
    try:
        has_more_values(content, 3_999_999 if pieces != '"a,",' else 1_000_001)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * 2**20


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        ("", JsonFlaw.MALFORMED),
        (b"", JsonFlaw.MALFORMED),
        ("<html>", JsonFlaw.MALFORMED),
        (b"\x1f\x8b\x08\x00gzip", JsonFlaw.MALFORMED),
        ("[1", JsonFlaw.MALFORMED),
        ("[" * 100_000, JsonFlaw.TOO_DEEP),
        ("[" * (MAX_DEPTH + 3) + "]" * (MAX_DEPTH + 3), JsonFlaw.TOO_DEEP),
        ("[" * 900 + "]" * 900, JsonFlaw.TOO_DEEP),
        ('[["\\ud800"' + ",[1" * 900 + "]" * 902, JsonFlaw.TOO_DEEP),
        ("[NaN]", JsonFlaw.NUMBER_OUT_OF_RANGE),
        ("[1e999]", JsonFlaw.NUMBER_OUT_OF_RANGE),
        ("[" + "9" * 5_000 + "]", JsonFlaw.NUMBER_OUT_OF_RANGE),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_unreadable_text_has_a_reason(content: str | bytes, flaw: JsonFlaw) -> None:
    assert flaw_of(content) is flaw


def test_an_answer_may_hold_numbers_that_are_none() -> None:
    assert read_json(b'{"a": [Infinity, 1e999, -Infinity]}', strict=False) == {
        "a": [float("inf"), float("inf"), float("-inf")]
    }


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (rb'"\ud83d"', "\ufffd"),
        (b'"\xff"', "\ufffd"),
        ('"\ud83d"', "\ufffd"),
        (rb'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        ('"\\ude00\xfc"', "\ufffd\xfc"),
    ],
)
def test_lone_surrogates_and_invalid_utf_8_are_replaced(content: str | bytes, text: str) -> None:
    assert read_json(content) == text
    assert replace_surrogates(text) == text
    if not (isinstance(content, bytes) and content.isascii() and b"ude00" in content):
        assert flaw_of(content, replace_invalid=False) is JsonFlaw.MALFORMED


@given(st.binary() | st.text(st.characters(categories=["Cs", "Cc", "P", "N"])))
def test_anything_is_read_or_refused(content: str | bytes) -> None:
    flaw_of(content)


def _panic() -> BaseException:
    kind: type[BaseException] = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    return kind("called `Option::unwrap()`")


@pytest.mark.parametrize("error", [MemoryError, _panic])
def test_running_out_of_memory_is_a_flaw_of_the_text(
    error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrusted_json, "from_json", _raising(error))

    assert flaw_of("[]") is JsonFlaw.NO_MEMORY


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exceptions_that_are_not_about_the_text_pass(
    error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrusted_json, "from_json", _raising(error))

    assert not is_out_of_memory(error())
    with pytest.raises(error):  # type: ignore[call-overload]
        read_json("[]")


def _raising(error: Callable[[], BaseException]) -> Callable[..., Any]:
    def read(*_: object, **__: object) -> Any:
        raise error()

    return read
