"""Priorities for systemd's journal: where standard error is its stream, and nowhere else."""

import io
import json
import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from aintandem_notify import log
from aintandem_notify.cli.echo import PrintableError, echo, install_excepthooks
from aintandem_notify.foundation.stdio import stderr_thread
from aintandem_notify.foundation.stdio.journal import is_journal, with_priority
from aintandem_notify.foundation.stdio.stderr_thread import stderr_in_thread
from support.pipes import full_pipe, read_until

PRIORITY = re.compile(r"<([0-7])>")


def name_of(descriptor: int) -> str:
    """The value of ``JOURNAL_STREAM`` with which systemd names this stream."""
    state = os.fstat(descriptor)
    return f"{state.st_dev}:{state.st_ino}"


@contextmanager
def journal(kind: str) -> Iterator[tuple[int, int]]:
    """The two ends of a stream such as that of the journal: the one to read, and the one to write."""
    if kind == "pipe":
        ends = os.pipe()
        try:
            yield ends
        finally:
            for descriptor in ends:
                os.close(descriptor)
        return
    reader, writer = socket.socketpair()
    with closing(reader), closing(writer):
        yield reader.fileno(), writer.fileno()


@contextmanager
def stderr_to(monkeypatch: pytest.MonkeyPatch, descriptor: int) -> Iterator[TextIO]:
    """``sys.stderr`` writes to this descriptor, and systemd names it as the journal."""
    monkeypatch.setenv("JOURNAL_STREAM", name_of(descriptor))
    with open(descriptor, "w", encoding="utf-8", closefd=False) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        yield stream


def log_at_every_level(*, in_thread: bool) -> None:
    logger = log.get_logger("agent")
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, level)(f"at {level}")
    logging.getLogger("lib").log(35, "between warning and error")
    try:
        raise ValueError("on\ntwo lines")
    except ValueError:
        logger.exception("boom")
    if in_thread:
        assert stderr_thread.drain_stderr()


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("log_format", ["json", "text", "auto"])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_each_line_for_the_journal_has_the_priority_of_its_entry(
    kind: str, log_format: log.LogFormat, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with journal(kind) as (reader, writer), stderr_to(monkeypatch, writer):
        if in_thread:
            with stderr_in_thread():
                log.configure("debug", log_format)
                log_at_every_level(in_thread=True)
        else:
            log.configure("debug", log_format)
            log_at_every_level(in_thread=False)
        written = os.read(reader, 1 << 16).decode().splitlines()

    priorities = [int(match[1]) if (match := PRIORITY.match(line)) else None for line in written]
    assert priorities[:6] == [7, 6, 4, 3, 2, 4]
    assert set(priorities[6:]) == {3}
    if log_format == "text":
        assert len(written) > 9
        assert all(line.startswith("<3>    ") for line in written[7:])
    else:
        assert json.loads(PRIORITY.sub("", written[-1], count=1))["exception"].endswith("two lines")


@pytest.mark.parametrize("name", [None, "", "1:2", ":", "rubbish", "-1:-1", "{own} ", "{device}:1", "1:{inode}"])
def test_a_stream_that_is_not_the_journal_has_plain_lines(
    name: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "err"
    with path.open("w") as stream:
        own = name_of(stream.fileno())
        device, _, inode = own.partition(":")
        if name is None:
            monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        else:
            monkeypatch.setenv("JOURNAL_STREAM", name.format(own=own, device=device, inode=inode))
        log.configure("info", "json", stream)
        log.get_logger("agent").error("refused")

    assert json.loads(path.read_text())["event"] == "refused"


def test_streams_without_a_descriptor_are_not_the_journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "err").open("w") as closed:
        monkeypatch.setenv("JOURNAL_STREAM", name_of(closed.fileno()))
        assert is_journal(closed)
    assert [is_journal(stream) for stream in (closed, io.StringIO(), None)] == [False, False, False]


def test_lines_that_the_journal_did_not_take_are_reported_with_a_priority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with full_pipe() as (reader, writer), stderr_to(monkeypatch, writer), stderr_in_thread(0.01):
        log.configure("info", "json")
        for number in range(3000):
            log.get_logger("agent").error("lost to nobody", number=number, filler="." * 1000)
        read = read_until(reader, b"log lines were lost").lstrip(b".").decode()

    *entries, notice = read.splitlines()
    assert {line[:3] for line in entries} == {"<3>"}
    assert notice.startswith('<4>{"timestamp"')


def test_errors_of_a_command_are_errors_in_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with journal("pipe") as (reader, writer), stderr_to(monkeypatch, writer) as stream:
        echo("the config has an error", err=True)
        install_excepthooks()
        sys.excepthook(ValueError, ValueError("in\na plugin"), None)
        import click

        PrintableError(click.UsageError("no such option")).show()
        stream.flush()
        written = os.read(reader, 1 << 16).decode()

    assert written.splitlines() == [
        "<3>the config has an error",
        "<3>ValueError: in",
        "<3>a plugin",
        "<3>Error: no such option",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "<4>a"), ("", "<4>"), ("a\n", "<4>a\n"), ("a\n\nb\n", "<4>a\n<4>\n<4>b\n"), ("<0>a", "<4><0>a")],
)
def test_every_line_has_a_priority(text: str, expected: str) -> None:
    assert with_priority("warning", text) == expected
