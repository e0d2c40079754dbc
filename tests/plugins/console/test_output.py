"""The console on real streams: pipes and terminals, also when their reader goes away."""

import fcntl
import io
import os
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest
from pydantic import ValidationError

from aintandem_notify.api import DestinationBroken, RetryLater
from aintandem_notify_console import Config, Console
from aintandem_notify_console.output import Output, supports_colours
from support.plugin_samples import configured, failed_task

PLAIN = "2026-03-01T12:00:05Z\terror\ttask_failed\tSales pipeline\tNightly import failed\tno space left\n"


@contextmanager
def pipe() -> Iterator[tuple[TextIO, TextIO]]:
    """The reading and the writing end."""
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as source, os.fdopen(writer, "w", encoding="utf-8") as sink:
        yield source, sink


@contextmanager
def terminal(columns: int = 60, encoding: str = "utf-8") -> Iterator[tuple[int, TextIO]]:
    """A terminal: the descriptor that reads its screen, and the stream that writes to it."""
    screen, device = os.openpty()
    fcntl.ioctl(device, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        with os.fdopen(device, "w", encoding=encoding) as stream:
            yield screen, stream
    finally:
        os.close(screen)


def read_screen(screen: int, stream: TextIO, encoding: str = "utf-8") -> str:
    """The terminal's output since the last read; the kernel delivers it in order, but in pieces and with delay."""
    stream.write("\0")
    stream.flush()
    came = b""
    while not came.endswith(b"\0"):
        came += os.read(screen, 4096)
    return came[:-1].decode(encoding)


@contextmanager
def standard_output(stream: TextIO | None) -> Iterator[None]:
    before = sys.stdout
    sys.stdout = stream
    try:
        yield
    finally:
        sys.stdout = before


@contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes.items():
            if value is None:
                patch.delenv(name, raising=False)
            else:
                patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def _ordinary_terminal() -> Iterator[None]:
    with environment({"TERM": "xterm", "NO_COLOR": None, "COLUMNS": None}):
        yield


async def console_into(stream: TextIO | None, tmp_path: Path, **keys: object) -> Console:
    """A console that is set up with ``stream`` as its standard output."""
    plugin = configured(Console, Config, tmp_path, **keys)
    with standard_output(stream):
        async with plugin.lifespan():
            return plugin


async def test_a_pipe_gets_plain_lines(tmp_path: Path) -> None:
    with pipe() as (source, sink):
        plugin = await console_into(sink, tmp_path)
        plugin.deliver(failed_task())
        plugin.deliver(failed_task())
        sink.close()

        assert source.read() == PLAIN * 2


async def test_a_pipe_gets_colours_when_they_are_asked_for(tmp_path: Path) -> None:
    with pipe() as (source, sink):
        plugin = await console_into(sink, tmp_path, colour="always")
        plugin.deliver(failed_task())
        sink.close()

        assert "\x1b[1;31mNightly import failed\x1b[0m" in source.read()


def test_plain_lines_do_without_the_layout_for_people() -> None:
    program = (
        "import sys, trio\n"
        "from pathlib import Path\n"
        "from support.plugin_samples import configured, failed_task\n"
        "from aintandem_notify_console import Config, Console\n"
        "async def main():\n"
        "    plugin = configured(Console, Config, Path('.'))\n"
        "    async with plugin.lifespan():\n"
        "        plugin.deliver(failed_task())\n"
        "trio.run(main)\n"
        "sys.exit('aintandem_notify_console.terminal' in sys.modules)\n"
    )
    tests = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tests,
        env={**os.environ, "PYTHONPATH": str(tests), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, PLAIN, "")


async def test_a_terminal_gets_a_coloured_block(tmp_path: Path) -> None:
    with terminal() as (screen, stream):
        plugin = await console_into(stream, tmp_path)
        plugin.deliver(failed_task())
        block = read_screen(screen, stream)

    assert "\x1b[1;31mNightly import failed\x1b[0m" in block
    assert "│ \x1b[0mno space left" in block


@pytest.mark.parametrize(
    ("keys", "changes"), [({"colour": "never"}, {}), ({}, {"NO_COLOR": "1"}), ({}, {"TERM": "dumb"})]
)
async def test_a_terminal_without_colours_keeps_the_layout(
    keys: dict[str, str], changes: dict[str, str], tmp_path: Path
) -> None:
    with environment(changes), terminal() as (screen, stream):
        plugin = await console_into(stream, tmp_path, **keys)
        plugin.deliver(failed_task())
        block = read_screen(screen, stream)

    assert "✖ Nightly import failed  Sales pipeline\r\n" in block
    assert "\x1b" not in block


async def test_a_terminal_that_is_made_narrower_is_followed(tmp_path: Path) -> None:
    words = "word " * 20
    with terminal(columns=120) as (screen, stream):
        plugin = await console_into(stream, tmp_path)
        plugin.deliver(failed_task(body=words))
        wide = read_screen(screen, stream).count("│")
        fcntl.ioctl(stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
        plugin.deliver(failed_task(body=words))
        narrow = read_screen(screen, stream).count("│")

    assert wide == 1
    assert narrow > 1


async def test_a_terminal_without_unicode_gets_ascii(tmp_path: Path) -> None:
    with terminal(encoding="ascii") as (screen, stream):
        plugin = await console_into(stream, tmp_path, output_lines=1)
        plugin.deliver(failed_task(body="größer\nsecond"))
        block = read_screen(screen, stream, "ascii")

    assert "| " in block
    assert "gr\\xf6\\xdfer" in block
    assert "... 1 more line" in block


async def test_a_reader_that_went_away_needs_a_person(tmp_path: Path) -> None:
    with pipe() as (source, sink):
        plugin = await console_into(sink, tmp_path)
        source.close()

        with pytest.raises(DestinationBroken, match="nobody reads standard output any more"):
            plugin.deliver(failed_task())


async def test_a_terminal_that_went_away_needs_a_person(tmp_path: Path) -> None:
    screen, device = os.openpty()
    with os.fdopen(device, "w", encoding="utf-8") as stream:
        plugin = await console_into(stream, tmp_path)
        os.close(screen)

        with pytest.raises(DestinationBroken, match="nobody reads standard output any more"):
            plugin.deliver(failed_task())


async def test_a_stream_that_is_not_there_or_closed_needs_a_person(tmp_path: Path) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        plugin = await console_into(stream, tmp_path)

        with pytest.raises(DestinationBroken, match="standard output is closed"):
            plugin.check()
        with pytest.raises(DestinationBroken, match="standard output is closed"):
            plugin.deliver(failed_task())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_waited_for() -> None:
    with (
        Path("/dev/full").open("w", encoding="utf-8") as stream,
        pytest.raises(RetryLater, match="standard error"),
    ):
        Output("stderr", stream).write("text")


async def test_a_stream_in_memory_is_written_to(tmp_path: Path) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    plugin = await console_into(stream, tmp_path)

    plugin.deliver(failed_task())

    assert stream.buffer.getvalue().decode() == PLAIN


async def test_standard_error_on_request(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plugin = configured(Console, Config, tmp_path, stream="stderr")

    async with plugin.lifespan():
        plugin.check()
        plugin.deliver(failed_task())

    assert capfd.readouterr() == ("", PLAIN)


def test_a_block_goes_out_whole_where_the_reader_is_slow() -> None:
    text = "x" * 1_000_000
    program = "import sys; sys.exit(len(sys.stdin.read()) != 1_000_000)"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, encoding="utf-8") as reader:
        assert reader.stdin is not None
        Output("stdout", reader.stdin).write(text)  # type: ignore[arg-type]  # a text stream: encoding is set
        reader.stdin.close()

        assert reader.wait() == 0


@pytest.mark.parametrize(("variable", "expected"), [("72", 72), ("", 100), ("0", 100), ("wide", 100), (None, 100)])
def test_the_variable_columns_sets_the_width(variable: str | None, expected: int) -> None:
    with environment({"COLUMNS": variable}), pipe() as (_, sink):
        assert Output("stdout", sink).width() == expected


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", True),
        ({"TERM": "xterm-256color"}, "linux", True),
        ({"TERM": "dumb"}, "linux", False),
        ({"TERM": "unknown"}, "linux", False),
        ({"NO_COLOR": "1"}, "linux", False),
        ({"NO_COLOR": ""}, "linux", True),
        ({}, "win32", False),
        ({"WT_SESSION": "x"}, "win32", True),
        ({"TERM": "xterm"}, "win32", True),
        ({"WT_SESSION": "x", "NO_COLOR": "1"}, "win32", False),
    ],
)
def test_colours_are_shown_where_they_are_known_and_wanted(
    environ: dict[str, str], platform: str, expected: bool
) -> None:
    assert supports_colours(environ, platform) is expected


@pytest.mark.parametrize(
    "keys", [{"stream": "stdlog"}, {"colour": "yes"}, {"output_lines": -1}, {"color": "auto"}]
)
def test_wrong_keys_are_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(keys)
