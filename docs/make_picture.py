"""Makes docs/terminal.svg, the picture in the README: a real run of the agent on its own terminal.

    python docs/make_picture.py

Runs the example with its simulator until the terminal has shown a failed task, a completed one, a workflow and a
sandbox (about half a minute). Then it draws the terminal. Needs a pseudo-terminal (Linux, macOS).
"""

import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl
    import termios

from rich.console import Console
from rich.text import Text

ROOT: Final = Path(__file__).parents[1]
PICTURE: Final = ROOT / "docs" / "terminal.svg"
EXAMPLE: Final = "config.example.toml"
COMMAND: Final = ("aintandem-notify", "run", EXAMPLE)
COLUMNS: Final = 100
LINES: Final = 40
TIMEOUT_S: Final = 120.0
"""Seconds until the terminal must have shown all ``REQUIRED`` patterns."""

REQUIRED: Final = (
    r"Task .* failed",
    r"Task .* completed",
    r"Workflow .* (completed|failed)",
    r"Sandbox .* started",
)
_WEB_FONT: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""The picture must not load a font from the network; a monospaced font of the system is enough."""
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")


def run_in_terminal(folder: Path) -> Iterator[bytes]:
    """Yield the terminal output of the agent, as it comes, until it has all ``REQUIRED`` patterns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    environ.pop("NO_COLOR", None)
    environ.pop("COLUMNS", None)
    command = [sys.executable, "-m", "aintandem_notify", *COMMAND[1:]]
    with subprocess.Popen(command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as agent:
        os.close(theirs)
        deadline = time.monotonic() + TIMEOUT_S
        output = b""
        while missing(output) and time.monotonic() < deadline and (chunk := _read(ours)):
            yield chunk
            output += chunk
        agent.terminate()
        while _read(ours):  # not for the picture; but a full terminal would block the agent's end
            pass
        os.close(ours)


def _read(terminal: int) -> bytes:
    """Return the next output of the terminal; empty once no process writes to it any more."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux raises at the end of a pseudo-terminal
        return b""


def missing(output: bytes) -> list[str]:
    """Return the ``REQUIRED`` patterns that are not in ``output``."""
    text = _STYLE.sub("", output.decode(errors="replace"))
    return [pattern for pattern in REQUIRED if not re.search(pattern, text)]


def draw(output: str) -> str:
    """Return the SVG of a terminal that shows the command and ``output``."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.assemble(("$ ", "dim"), " ".join(COMMAND)))
    console.print(Text.from_ansi(output), soft_wrap=True)
    picture = console.export_svg(title=" ".join(COMMAND), unique_id="terminal")
    return _WEB_FONT.sub("", picture)


def main() -> None:
    """Run the agent and draw the picture. Fails if a required line is missing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / EXAMPLE, folder)
        output = b"".join(run_in_terminal(folder))
    if lacking := missing(output):
        sys.exit(f"the run did not show {lacking}:\n{output.decode(errors='replace')}")
    PICTURE.write_text(draw(output.decode().replace("\r\n", "\n").rstrip()), encoding="utf-8")
    sys.stdout.write(f"{PICTURE}\n")


if __name__ == "__main__":
    main()
