"""Commands as processes that run to their end, as a user types them."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from support.configs import CANARY


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended and what it wrote."""

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
    """Run ``aintandem-notify`` in ``cwd``, which is its HOME too, with ``answers`` on stdin.

    ``stdout`` is a descriptor for it to write to, instead of into the result; ``shell`` a script that starts it,
    as in ``support.nasty.process``. Whatever it is told to do, it shows no traceback and not the password of
    ``write_config``. Warnings are errors in it.
    """
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONWARNINGS": "error", **(environ or {})}
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
