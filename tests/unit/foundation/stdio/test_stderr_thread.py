"""Standard error, written by a thread: no writer blocks, and lost lines are reported."""

import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aintandem_notify import log
from aintandem_notify.foundation.stdio.line_buffer import MAX_WAITING_BYTES
from aintandem_notify.foundation.stdio.stderr_thread import (
    FLUSH_TIMEOUT_S,
    ThreadedStderr,
    stderr_in_thread,
    threaded_stderr,
)
from support.pipes import full_pipe, read_until

LONG_S = 60.0
"""Nothing waits so long where it works."""


def print_to_stderr(text: str) -> None:
    """As ``print`` to standard error does."""
    sys.stderr.write(f"{text}\n")


@contextmanager
def standard_error(
    monkeypatch: pytest.MonkeyPatch, descriptor: int, flush_timeout_s: float = FLUSH_TIMEOUT_S
) -> Iterator[ThreadedStderr]:
    """Within the block ``sys.stderr`` writes to this descriptor in a thread."""
    with open(descriptor, "w", encoding="utf-8", closefd=False) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with stderr_in_thread(flush_timeout_s):
            threaded = threaded_stderr()
            assert threaded is not None
            yield threaded


def test_all_of_it_is_written_in_order_before_the_block_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "err").open("wb") as file, standard_error(monkeypatch, file.fileno()):
        for number in range(500):
            print_to_stderr(f"line {number} ü")
    written = (tmp_path / "err").read_text(encoding="utf-8").splitlines()
    assert written == [f"line {number} ü" for number in range(500)]
    assert threaded_stderr() is None


def test_a_blocked_stream_blocks_no_writer_and_afterwards_the_lost_lines_are_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with full_pipe() as (reader, writer), standard_error(monkeypatch, writer, 0.01) as threaded:
        log.configure("info", "json")
        logger = log.get_logger("agent")
        for number in range(3000):
            logger.info("a line that is lost to nobody", number=number, filler="." * 1000)
        assert not threaded.drain(0)
        print_to_stderr("nobody waits")
        read = read_until(reader, b"log lines were lost")
        logger.info("and on it goes")
        read = (read + read_until(reader, b"and on it goes")).lstrip(b".")
        entries = [json.loads(line) for line in read.splitlines()]
    *written_entries, lost, last = entries
    assert [entry["number"] for entry in written_entries] == list(range(len(written_entries)))
    assert sum(map(len, read.splitlines(keepends=True)[: len(written_entries)])) > 0.9 * MAX_WAITING_BYTES
    assert lost["lines"] == 3000 - len(written_entries) + 1
    assert lost["level"] == "warning"
    assert last["event"] == "and on it goes"


def test_a_full_disk_is_no_trouble_and_the_lost_lines_are_reported_once_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = [3, 0, 0]
    written: list[bytes] = []

    def write(descriptor: int, text: memoryview) -> int:
        length = room.pop(0) if room else len(text)
        if not length:
            raise OSError(28, "No space left on device")
        written.append(bytes(text[:length]))
        return length

    monkeypatch.setattr(os, "write", write)
    out = ThreadedStderr(2)
    for text in (b"torn by it\n", b"whole\n"):
        out.write(text)
        assert out.drain(LONG_S)
    out.write(b"there is room\n")
    assert out.drain(LONG_S)
    output = b"".join(written).decode()
    assert output == ("tor\naintandem-notify: 2 lines could not be written to standard error\nthere is room\n")


def test_a_pipe_that_somebody_made_non_blocking_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb") as end:
        got: list[bytes] = []
        reading = threading.Thread(target=lambda: got.append(pipe.read()), daemon=True)
        with standard_error(monkeypatch, end.fileno()) as threaded:
            print_to_stderr("." * 300_000)
            reading.start()
            assert threaded.drain(LONG_S)
        end.close()
        reading.join(LONG_S)
    assert got == [b"." * 300_000 + b"\n"]


def test_a_reader_that_has_gone_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as end, standard_error(monkeypatch, end.fileno()) as threaded:
        print_to_stderr("nobody hears it")
        assert threaded.drain(LONG_S)


def test_a_stream_that_is_blocked_at_the_end_blocks_no_later_writer_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with full_pipe() as (reader, writer):
        with standard_error(monkeypatch, writer, 0.01) as threaded:
            print_to_stderr("nobody hears it")
        assert threaded_stderr() is threaded
        print_to_stderr("nor this")
        # Otherwise the thread would write into the next file that gets the descriptor's number.
        read_until(reader, b"nor this\n")
        assert threaded.drain(LONG_S)


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_process_without_a_descriptor_for_it_goes_on_as_it_is(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with stderr_in_thread():
        assert sys.stderr is stream
        assert threaded_stderr() is None
