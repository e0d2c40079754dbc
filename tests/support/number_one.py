"""Processes that are number 1 of a namespace, as in a container: no signal ends them unless they listen for it."""

import os
import signal
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import trio

from support.services import require_or_skip

_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child")


def as_number_one(command: Sequence[str]) -> list[str]:
    """``command``, started as number 1; skips the test where the machine does not allow that."""
    unshare = [*_UNSHARE] if os.geteuid() == 0 else [*_UNSHARE, "--user", "--map-root-user"]
    if (reason := _hindrance(tuple(unshare))) is not None:
        require_or_skip(f"no process can be number 1 here: {reason}")
    return [*unshare, *command]


@cache
def _hindrance(unshare: tuple[str, ...]) -> str | None:
    try:
        tried = subprocess.run([*unshare, "sh", "-c", "exit $$"], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return None if tried.returncode == 1 and not tried.stderr else tried.stderr or f"exit code {tried.returncode}"


async def number_one_below(unshare: int) -> int:
    """The pid, as seen from here, of the process that was started so; once there is one."""
    while True:
        if pids := _read(unshare, f"task/{unshare}/children").split():
            return int(pids[0])
        await trio.sleep(0.01)


async def listens_for(pid: int, number: signal.Signals) -> None:
    """Returns once the process has a handler for the signal."""
    while True:
        (caught,) = (line.split()[1] for line in _read(pid, "status").splitlines() if line.startswith("SigCgt"))
        if int(caught, 16) >> (number - 1) & 1:
            return
        await trio.sleep(0.01)


def _read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()
