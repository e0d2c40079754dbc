"""No secret gets into a log line, and no text breaks out of its line."""

import io
import itertools
import json
import logging
import re
import secrets
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from aintandem_notify import log
from aintandem_notify.log import MAX_ROTATING_SECRETS, REDACTED, redact, redact_values, redaction
from aintandem_notify.log.entries import MAX_ENTRY_CHARACTERS, MAX_LOGGED_TEXT, OMITTED

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.dGhlLXNpZ25hdHVyZQ"


def lines(write: Any, log_format: log.LogFormat = "json", level: log.LogLevel = "debug") -> str:
    """The lines that ``write(logger)`` writes."""
    stream = io.StringIO()
    log.configure(level, log_format, stream)
    write(log.get_logger("agent"))
    return stream.getvalue()


def entry(write: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(lines(write))
    return loaded


def fresh_secret(more: str = "") -> str:
    """A secret that no other test registers."""
    secret = secrets.token_hex(8) + more
    log.register_secret(secret)
    return secret


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"GET /x?token={JWT}&a=1", f"GET /x?token={REDACTED}&a=1"),
        ("GET /x?access_token=abc;", f"GET /x?access_token={REDACTED}"),
        ("TOKEN=abc", f"TOKEN={REDACTED}"),
        (f"sent {JWT} off", f"sent {REDACTED} off"),
        ("eyJhbGciOiJub25lIn0.eyJhIjoxfQ.", REDACTED),
        ("xoxb-1234567890-abcdef used", f"{REDACTED} used"),
        ("xoxp-1234567890", REDACTED),
        ("xapp-1-A1234567890-0-abc", REDACTED),
        ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw.", f"secret {REDACTED}."),
        ("https://hooks.slack.com/services/T0/B0/xyz failed", f"https://hooks.slack.com/{REDACTED} failed"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {REDACTED}"),
        ("Authorization: Basic YWRtaW46YWRtaW4=", f"Authorization: Basic {REDACTED}"),
        ("authorization: s3cr3t was refused", f"authorization: {REDACTED} was refused"),
        ("HTTP_AUTHORIZATION=s3cr3t", f"HTTP_AUTHORIZATION={REDACTED}"),
        ("{'Authorization': 'Token abc'}", "{'Authorization': 'Token " + REDACTED + "'}"),
        (r"{\"authorization\": \"abc\"}", r"{\"authorization\": \"" + REDACTED + r"\"}"),
        ("bearer abcdefgh12345", f"bearer {REDACTED}"),
        ('{"refreshToken": "abc", "a": 1}', '{"refreshToken": "' + REDACTED + '", "a": 1}'),
        ("http://user:pass@proxy:3128/", f"http://user:{REDACTED}@proxy:3128/"),
    ],
)
def test_a_text_that_looks_like_a_token_is_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a task about tokens and bearers",
        "the token: expired an hour ago",
        "bearer of bad news",
        "authorization failed",
        "see https://example.org:8080/a/b?c=d@e",
        "eyJust a word",
        "xoxo",
        "mail to anna@example.org",
    ],
)
def test_a_text_that_does_not_look_like_a_token_stays(text: str) -> None:
    assert redact(text) == text


def test_an_announced_secret_is_redacted_in_every_spelling() -> None:
    secret = fresh_secret("/p ä\"ss'w\\ör+d\nx")
    spellings = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote(secret, safe="").lower(),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }

    assert len(spellings) == 7
    for spelling in spellings:
        assert redact(f"before {spelling} after") == f"before {REDACTED} after"


def test_a_text_that_was_seen_before_the_secret_was_known_is_redacted_from_then_on() -> None:
    secret = secrets.token_hex(8)
    assert redact(f"uses {secret}") == f"uses {secret}"
    log.register_secret(secret)

    assert redact(f"uses {secret}") == f"uses {REDACTED}"


def test_a_secret_that_holds_another_is_redacted_whole() -> None:
    short = fresh_secret()
    long = short + "-extended"
    log.register_secret(long)

    assert redact(f"{long}|{short}") == f"{REDACTED}|{REDACTED}"


@pytest.mark.parametrize("secret", ["", "a", "abc"])
def test_a_secret_that_is_too_short_does_not_spoil_texts(secret: str) -> None:
    log.register_secret(secret)

    assert redact("abcdef abc") == "abcdef abc"


def test_rotating_secrets_are_forgotten_when_many_newer_ones_came() -> None:
    first, lasting = secrets.token_hex(8), fresh_secret()
    log.register_secret(first, rotating=True)
    newest = [secrets.token_hex(8) for _ in range(MAX_ROTATING_SECRETS)]
    for secret in newest[:-1]:
        log.register_secret(secret, rotating=True)
    assert redact(first) == REDACTED
    log.register_secret(newest[-1], rotating=True)

    assert redact(first) == first
    assert redact(" ".join([*newest, lasting])) == " ".join([REDACTED] * (MAX_ROTATING_SECRETS + 1))


def test_of_many_tokens_that_replaced_one_another_only_the_newest_cost_more_than_themselves() -> None:
    odd = "<'\"&%/" * 1000
    tokens = [f"{odd}{number:04}" for number in range(20)]
    for token in tokens:
        log.register_secret(token, rotating=True)

    assert [redact(f"was {token}!") for token in tokens] == [f"was {REDACTED}!"] * len(tokens)
    assert redact(quote(tokens[-1], safe="")) == REDACTED
    assert redact(quote(tokens[0], safe="")) != REDACTED


def test_a_rotating_secret_that_is_announced_again_takes_no_second_place() -> None:
    secret, other = secrets.token_hex(8), secrets.token_hex(8)
    log.register_secret(other, rotating=True)
    for _ in range(MAX_ROTATING_SECRETS * 2):
        log.register_secret(secret, rotating=True)

    assert redact(other) == REDACTED


def test_texts_inside_values_are_redacted() -> None:
    secret = fresh_secret()
    values = {"a": [secret, 1, None, {"b": (f"x{secret}", True)}], "token": 1.5}

    assert redact_values(values) == {"a": [REDACTED, 1, None, {"b": [f"x{REDACTED}", True]}], "token": 1.5}


TEMPTING = st.sampled_from(
    [
        JWT,
        "xoxb-12345678-abc",
        "Bearer abcdefghi",
        "TOKEN=x1",
        "https://me:pw@host",
        "Authorization: x",
        '"token": "t"',
    ]
)
SECRETS = st.sampled_from(['quo"te\\d', "sp ace/ü", "tab\there", "plain-secret", "\x7fdel\u2028"])


@given(
    st.recursive(
        st.none() | st.integers() | st.lists(st.text() | TEMPTING | SECRETS, max_size=3).map("".join),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_a_skipped_text_holds_nothing_to_redact(value: Any) -> None:
    for secret in ('quo"te\\d', "sp ace/ü", "tab\there", "plain-secret", "\x7fdel\u2028"):
        log.register_secret(secret, rotating=True)
    if not log.may_hold_secret(to_json(value).decode()):
        assert redact_values(value) == value
    if isinstance(value, str) and not log.may_hold_secret(value):
        assert redact(value) == value


def test_a_harmless_text_is_passed_over() -> None:
    assert not log.may_hold_secret('{"output": "[0001] Train the model: row 17 of 1000000 done\\n"}')


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


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


def test_an_entry_has_time_logger_event_and_level() -> None:
    read = entry(lambda logger: logger.warning("parked", destination="slack.team"))

    assert list(read) == ["timestamp", "level", "event", "destination", "logger"]
    assert read.pop("timestamp").endswith("Z")
    assert read == {
        "event": "parked",
        "level": "warning",
        "logger": "agent",
        "destination": "slack.team",
    }


@pytest.mark.parametrize(
    ("name", "facts", "said"),
    [
        ("agent", {}, "info     started"),
        (
            "aintandem_notify.plugins.runtime.instance",
            {"plugin": "slack.team"},
            "info     started  plugin=slack.team",
        ),
        ("hypercorn.error", {}, "info     started  logger=hypercorn.error"),
        ("agent", {"reason": "it's over", "code": 1006}, 'info     started  reason="it\'s over" code=1006'),
        (
            "agent",
            {"name": "", "changed": ["[store]"], "ok": None},
            'started  name="" changed=["[store]"] ok=null',
        ),
    ],
)
def test_a_line_for_people_has_time_level_event_and_fields(name: str, facts: dict[str, Any], said: str) -> None:
    written = lines(lambda _: log.get_logger(name).info("started", **facts), "text")

    assert re.fullmatch(r"\d\d:\d\d:\d\d .*\n", written)
    assert written.endswith(f"{said}\n")


def test_silence_leaves_out_errors_too(capsys: pytest.CaptureFixture[str]) -> None:
    log.silence()
    log.get_logger("agent").error("refused")
    logging.getLogger("lib").error("refused")

    assert capsys.readouterr() == ("", "")


def test_an_exception_is_in_its_json_line() -> None:
    def write(logger: Any) -> None:
        try:
            raise ValueError("cause of it")
        except ValueError:
            logger.exception("boom")

    read = entry(write)

    assert read["level"] == "error"
    assert read["exception"].startswith("Traceback")
    assert read["exception"].endswith("ValueError: cause of it")


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_decides_which_entries_are_logged(level: log.LogLevel, heard: list[str]) -> None:
    def write(logger: Any) -> None:
        for name in ("debug", "info", "warning", "error"):
            getattr(logger, name)(name)

    assert [json.loads(line)["event"] for line in lines(write, level=level).splitlines()] == heard


def test_a_logger_made_before_the_configuration_follows_it() -> None:
    early = log.get_logger("early")

    assert "early" in lines(lambda _: early.info("hello"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "log_format", "readable"),
    [
        (Terminal(), "auto", True),
        (io.StringIO(), "auto", False),
        (Terminal(), "json", False),
        (io.StringIO(), "text", True),
    ],
)
def test_auto_is_readable_on_a_terminal_and_json_elsewhere(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, log_format: log.LogFormat, readable: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    log.configure("info", log_format, stream)
    log.get_logger("agent").info("hello")

    assert stream.getvalue().startswith("{") is not readable
    assert ("\x1b[" in stream.getvalue()) is (readable and stream.isatty())


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colours_gets_none(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    stream = Terminal()
    log.configure("info", "auto", stream)
    log.get_logger("agent").warning("hello")

    assert stream.getvalue().endswith(" warning  hello\n")


@pytest.mark.parametrize(
    ("number", "level"),
    [(100, "critical"), (50, "critical"), (45, "error"), (40, "error"), (35, "warning"), (30, "warning")],
)
def test_warnings_of_libraries_are_logged(number: int, level: str) -> None:
    read = entry(lambda _: logging.getLogger("lib.part").log(number, "slow: %d s", 7))

    assert (read["event"], read["level"], read["logger"]) == ("slow: 7 s", level, "lib.part")


def test_info_and_debug_messages_of_libraries_are_not_logged() -> None:
    def chat(_: Any) -> None:
        logging.getLogger("httpx").info("GET %s", "http://h/?token=abc")
        logging.getLogger("httpx").debug("closing")

    assert lines(chat) == ""


def test_a_library_s_wrong_format_string_is_logged_as_it_is() -> None:
    read = entry(lambda _: logging.getLogger("lib").error("%d of %d", "one"))

    assert read["event"] == "%d of %d"


def test_a_library_s_exception_comes_with_its_traceback() -> None:
    def write(_: Any) -> None:
        try:
            raise OSError("disk on fire")
        except OSError:
            logging.getLogger("lib").exception("oh")

    assert entry(write)["exception"].endswith("OSError: disk on fire")


def test_warnings_are_logged_and_redacted() -> None:
    secret = fresh_secret()

    def write(_: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(False)
            logging.captureWarnings(True)
            warnings.warn(f"careful with {secret}", UserWarning, stacklevel=1)

    read = entry(write)

    assert read["level"] == "warning"
    assert f"careful with {REDACTED}" in read["event"]


class Full(io.StringIO):
    """A file on a disk without space."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        """Keeps the file open, so that only the lack of space is tested."""


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    for stream in (io.StringIO(), Full()):
        log.configure("info", "json", stream)
        stream.close()
        log.get_logger("agent").error("unheard")
        logging.getLogger("lib").error("unheard too")


def test_a_stream_of_another_encoding_gets_escapes() -> None:
    raw = io.BytesIO()
    log.configure("info", "json", io.TextIOWrapper(raw, encoding="ascii"))
    log.get_logger("agent").info("Zoë \N{GRINNING FACE}")

    assert json.loads(raw.getvalue())["event"] == "Zo\u00eb \N{GRINNING FACE}"


def test_a_process_without_stderr_logs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    log.configure()
    log.get_logger("agent").error("unheard")


def test_a_program_that_only_uses_the_library_hears_of_trouble_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    structlog.reset_defaults()
    root = logging.getLogger().handlers[:]
    log.output.configure_for_library()
    log.get_logger("link").info("connected")
    log.get_logger("link").warning("cut", token=f"token={JWT}")
    heard = capsys.readouterr()

    assert heard.out == ""
    assert "connected" not in heard.err
    assert "cut" in heard.err
    assert JWT not in heard.err
    assert logging.getLogger().handlers == root


def test_a_program_that_set_up_structlog_keeps_its_settings() -> None:
    captured = structlog.testing.LogCapture()
    structlog.configure(processors=[captured])
    log.output.configure_for_library()
    log.get_logger("link").warning("cut")

    assert [kept["event"] for kept in captured.entries] == ["cut"]


def test_a_long_text_is_looked_through_once_though_it_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def look(text: str) -> str:
        looked.append(len(text))
        return text.replace("longcanary01", "[redacted]")

    monkeypatch.setattr(redaction, "_redact", look)
    for text in ("token=longcanary01 " * 1000, "token=longcanary01 " * 1000, "nothing to hide " * 1000):
        assert "longcanary01" not in redact(text)
    assert len(looked) == 1
    log.register_secret(fresh_secret())  # a secret registered later is found in a cached text
    redact("token=longcanary01 " * 1000)
    assert len(looked) == 2
