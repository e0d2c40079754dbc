"""The form, the levels and the streams of the log, also for messages of libraries."""

import io
import json
import logging
import re
import sys
import warnings
from typing import Any

import pytest
import structlog

from aintandem_notify import log
from aintandem_notify.log import REDACTED
from support.log_lines import entry, fresh_secret, lines

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.dGhlLXNpZ25hdHVyZQ"


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
