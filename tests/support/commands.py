"""Runs commands as processes to their end, as a user types them."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from support.configs import CANARY
from support.measuring import coverage_variables


@dataclass(frozen=True, slots=True)
class Finished:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


async def run_command(
    *arguments: str | Path,
    cwd: Path,
    environ: Mapping[str, str] | None = None,
    stdout: int | None = None,
    answers: str = "",
    shell: str = 'exec "$@"',
    seconds: float = 600.0,
) -> Finished:
    """Runs ``aintandem-notify`` in ``cwd``, which is also its HOME, with ``answers`` on stdin.

    ``stdout`` is a descriptor to write to, instead of the result. ``shell`` is a script that starts it, as in
    ``support.nasty.process``. Checks that the output has no traceback and not the password of ``write_config``.
    Warnings are errors.
    """
    surroundings = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "PYTHONWARNINGS": "error",
        **coverage_variables(),
        **(environ or {}),
    }
    with trio.fail_after(seconds):
        done = await trio.run_process(
            ["sh", "-c", shell, "sh", sys.executable, "-m", "aintandem_notify", *map(str, arguments)],
            cwd=cwd,
            env=surroundings,
            stdin=answers.encode(),
            capture_stderr=True,
            check=False,
            **({"capture_stdout": True} if stdout is None else {"stdout": stdout}),
        )
    finished = Finished(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())
    for text in (finished.out, finished.err):
        assert "Traceback" not in text, text
        assert CANARY not in text
    return finished
