"""Runs the agent as its own process, as a user starts it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from support.configs import CANARY
from support.measuring import coverage_variables


class AgentProcess:
    """A running ``aintandem-notify``; its output is kept line by line."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._news = trio.Condition()
        self._open_streams = sum(stream is not None for stream in (process.stdout, process.stderr))
        self._ended = trio.Event()
        if not self._open_streams:
            self._ended.set()

    async def wait_for_log(self, text: str, *, times: int = 1) -> str:
        """Returns the n-th line of stderr that contains ``text``; fails if the process ends first."""
        return await self._wait_for(self.stderr, text, times)

    async def wait_for_output(self, text: str, *, times: int = 1) -> str:
        """Returns the n-th line of stdout that contains ``text``; fails if the process ends first."""
        return await self._wait_for(self.stdout, text, times)

    async def _wait_for(self, lines: list[str], text: str, times: int) -> str:
        async with self._news:
            while True:
                matches = [line for line in lines if text in line]
                if len(matches) >= times:
                    return matches[times - 1]
                if not self._open_streams:
                    raise AssertionError(f"the agent ended without saying {text!r}:\n" + self.everything)
                await self._news.wait()

    @property
    def everything(self) -> str:
        """All its output, to assert the absence of texts."""
        return "\n".join([*self.stdout, "--- stderr ---", *self.stderr])

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.process.send_signal(signal.SIGKILL)

    def reload(self) -> None:
        """Sends SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    async def freeze(self) -> None:
        """Sends SIGSTOP and returns once the process has stopped."""
        self.process.send_signal(signal.SIGSTOP)
        await trio.to_thread.run_sync(os.waitid, os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    async def wait(self) -> int:
        """Returns the exit code, negative for a signal, once all its output was read."""
        code = await self.process.wait()
        await self._ended.wait()
        return code

    async def read(self, stream: trio.abc.ReceiveStream, lines: list[str]) -> None:
        """Reads one of its streams line by line until it closes."""
        partial = b""
        async for chunk in stream:
            *whole, partial = (partial + chunk).split(b"\n")
            async with self._news:
                lines.extend(line.decode(errors="replace") for line in whole)
                self._news.notify_all()
        async with self._news:
            self._open_streams -= 1
            if not self._open_streams:
                self._ended.set()
            self._news.notify_all()


@asynccontextmanager
async def open_agent(
    *arguments: str | Path,
    cwd: Path,
    environ: Mapping[str, str | None] | None = None,
    shell: str = 'exec "$@"',
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    seconds: float = 600.0,
) -> AsyncIterator[AgentProcess]:
    """Runs ``aintandem-notify`` with these arguments in ``cwd``, which is also its HOME and state folder.

    ``environ`` adds to its variables; None removes one. ``shell`` is a script that starts it, as in
    ``support.nasty.process``. ``stdout`` and ``stderr`` may be descriptors of the test's own; that output is not
    recorded then.

    Kills the process at the end of the block. The block fails after ``seconds``; a start alone may take half a
    minute beside other tests.
    """
    command = ["sh", "-c", shell, "sh", sys.executable, "-m", "aintandem_notify", *map(str, arguments)]
    surroundings: dict[str, str | None] = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "XDG_STATE_HOME": str(cwd / "state"),
        "PYTHONWARNINGS": "error",
        **coverage_variables(),
        **(environ or {}),
    }
    variables = {name: value for name, value in surroundings.items() if value is not None}
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(
                command,
                cwd=cwd,
                env=variables,
                stdout=stdout,
                stderr=stderr,
            )
            agent = AgentProcess(process)
            for stream, lines in ((process.stdout, agent.stdout), (process.stderr, agent.stderr)):
                if stream is not None:
                    nursery.start_soon(agent.read, stream, lines)
            try:
                yield agent
            except BaseException:
                sys.stderr.write(agent.everything)  # pytest shows it with the failure
                raise
            finally:
                if process.returncode is None:
                    process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
                nursery.cancel_scope.cancel()


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the values in a file of JSON lines. Ignores a line that is only partly written yet."""
    content = path.read_bytes() if path.is_file() else b""
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


async def logged(folder: Path, count: int) -> list[dict[str, Any]]:
    """Returns the lines of notifications.jsonl once there are at least ``count``."""
    while True:
        lines = whole_lines(folder / "notifications.jsonl")
        if len(lines) >= count:
            return lines
        # No portable call waits for a file to grow; each round lets the agent run.
        await trio.sleep(0.01)


async def ended_well(agent: AgentProcess) -> None:
    """Ends the agent with SIGTERM. Checks the exit code 0, and that the password is not in its output."""
    agent.terminate()
    assert await agent.wait() == 0, agent.everything
    assert CANARY not in agent.everything
    assert "Traceback" not in agent.everything
