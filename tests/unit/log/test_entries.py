"""No secret gets into a log entry, no text breaks out of its line, and no line is long."""

import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify import log
from aintandem_notify.log import REDACTED
from aintandem_notify.log.entries import MAX_ENTRY_CHARACTERS, MAX_LOGGED_TEXT, OMITTED
from support.log_lines import entry, fresh_secret, lines


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_place_in_an_entry_shows_a_secret(log_format: log.LogFormat) -> None:
    secret = fresh_secret("\"'\\ä")
    encoded = quote(secret, safe="")

    def write(logger: Any) -> None:
        logger.info(" ".join(("to", secret)), url=f"ws://h/p?x={encoded}", deep={"a": [secret, {secret: secret}]})
        logger.warning("refused", error=ValueError(secret), path=Path("/tmp") / encoded, pair=(secret,))
        logging.getLogger("lib").error("GET %s", encoded)
        try:
            try:
                raise ValueError(f"cannot reach {encoded}")
            except ValueError as cause:
                raise ExceptionGroup(f"for {secret}", [RuntimeError(repr(secret))]) from cause
        except ExceptionGroup:
            logger.exception("boom")

    written = lines(write, log_format)

    assert secret[:16] not in written
    assert written.count(REDACTED) >= 9
    assert "RuntimeError" in written


HOSTILE = "done\n12:00:00 [info] forged\r\x1b[2J\x1b[31m\x07\x00\x85\u2028\u202e\x9b\x7f\ud800 and on"


def test_no_text_ends_its_line_or_steers_the_terminal() -> None:
    def write(logger: Any) -> None:
        logger.info(HOSTILE, name=HOSTILE, tight=HOSTILE.replace(" ", ""), deep={HOSTILE: [HOSTILE]})

    written = lines(write, "text")

    assert written.endswith("\n")
    assert written[:-1].isprintable()
    assert "forged" in written


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_fact_is_lost_to_another_whose_key_reads_the_same(log_format: Any) -> None:
    one, other = fresh_secret(), fresh_secret()
    facts = {one: "first", other: "second", "deep": {one: "third", other: "fourth", "a\x00": 5, "a\\x00": 6}}
    written = lines(lambda logger: logger.info("said", **facts), log_format)
    assert all(name in written for name in ("first", "second", "third", "fourth", f"{REDACTED} (2)"))
    if log_format == "json":
        read = json.loads(written)
        assert (read[REDACTED], read[f"{REDACTED} (2)"]) == ("first", "second")
        assert list(read["deep"].values()) == ["third", "fourth", 5, 6]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_key_of_an_entry_steers_the_terminal(log_format: Any) -> None:
    written = lines(lambda logger: logger.info("said", **{HOSTILE: 1}), log_format)
    assert written.rstrip("\n").isprintable()


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


LONG: dict[str, Callable[[], Any]] = {
    "a text": lambda: "x y" * 500_000,
    "a secret over the edge": lambda: "x" * (MAX_LOGGED_TEXT - 20) + "password=" + "hunter2" * 100_000,
    "many texts": lambda: ["x" * MAX_LOGGED_TEXT] * 1000,
    "many small values": lambda: [None] * 1_000_000,
    "many keys": lambda: {f"key {number}": number for number in range(100_000)},
    "without end": lambda: itertools.count(1_000_000),
    "deep": lambda: nested(5000),
    "a number": lambda: 10**100_000,
    "an error": lambda: ValueError("x" * 1_000_000),
    "bytes": lambda: bytes(1_000_000),
}


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("name", LONG)
def test_no_line_is_long(name: str, log_format: Any) -> None:
    written = lines(lambda logger: logger.info("said", long=LONG[name](), more=1), log_format)
    assert "said" in written
    assert ('"more": 1' if log_format == "json" else " more=1") in written
    assert "hunter2" not in written
    assert written.count("\n") == 1
    assert len(written) < 3 * MAX_ENTRY_CHARACTERS


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_an_entry_of_many_facts_is_not_long(log_format: Any) -> None:
    facts = {f"fact {number}": "x" * 1_000_000 for number in range(1000)}
    written = lines(lambda logger: logger.info("said", **facts), log_format)
    assert "said" in written
    assert OMITTED in written
    assert len(written) < 3 * MAX_ENTRY_CHARACTERS


def test_a_long_text_is_cut_and_says_so() -> None:
    read = entry(
        lambda logger: logger.info("said", text="x" * (MAX_LOGGED_TEXT + 1000), short="y" * MAX_LOGGED_TEXT)
    )
    assert read["text"] == "x" * MAX_LOGGED_TEXT + "[… 1,000 more characters]"
    assert read["short"] == "y" * MAX_LOGGED_TEXT


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_of_a_long_traceback_the_beginning_and_the_end_are_shown(log_format: Any) -> None:
    def write(logger: Any) -> None:
        try:
            raise ValueError("begin " + "x" * 1_000_000 + " end")
        except ValueError:
            logger.exception("boom")

    written = lines(write, log_format)
    assert len(written) < 2 * MAX_LOGGED_TEXT
    assert all(word in written for word in ("boom", "Traceback", "begin", "end", "more characters]"))


def test_a_traceback_cannot_pass_for_entries() -> None:
    def write(logger: Any) -> None:
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logger.exception("boom", task="t1")

    first, *rest = lines(write, "text").splitlines()

    assert "boom" in first
    assert "task=t1" in first
    assert len(rest) > 3
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert any("12:00:00 [info] forged" in line for line in rest)


def test_json_lines_hold_every_value_whole() -> None:
    written = lines(lambda logger: logger.info("ends", text=HOSTILE, name="Zoë", numbers=[1, 2.5, None, True]))
    read = json.loads(written)

    assert written.count("\n") == 1
    written.encode()
    assert read["name"] == "Zoë"
    assert "Zoë" in written
    assert read["numbers"] == [1, 2.5, None, True]
    # Parsing the JSON gives the original text; showing the line on a terminal has no effect.
    assert read["text"] == HOSTILE
    assert r"\u0085\u2028\u202e\u009b\u007f\ud800 and on" in written
    assert written.rstrip("\n").isprintable()


@given(st.text(st.characters()), st.sampled_from(["json", "text"]))
def test_any_text_is_one_line(text: str, log_format: Any) -> None:
    written = lines(lambda logger: logger.info(text, value=text, deep=[text]), log_format)

    assert len(written.splitlines()) == 1
    written.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"\xff", {1, 2}, Path("a"), object])
def test_values_that_json_does_not_know_are_texts(value: object) -> None:
    read = entry(lambda logger: logger.info("odd", value=value))

    assert isinstance(read["value"], str | list)
