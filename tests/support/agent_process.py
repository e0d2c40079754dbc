"""The agent as its own process, as a user starts it."""

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
        """The line of stderr that holds ``text`` for the n-th time; fails if the process ends before."""
        return await self._wait_for(self.stderr, text, times)

    async def wait_for_output(self, text: str, *, times: int = 1) -> str:
        """The line of stdout that holds ``text`` for the n-th time; fails if the process ends before."""
        return await self._wait_for(self.stdout, text, times)

    async def _wait_for(self, lines: list[str], text: str, times: int) -> str:
        async with self._news:
            while True:
                found = [line for line in lines if text in line]
                if len(found) >= times:
                    return found[times - 1]
                if not self._open_streams:
                    raise AssertionError(f"the agent ended without saying {text!r}:\n" + self.everything)
                await self._news.wait()

    @property
    def everything(self) -> str:
        """All that it wrote, for assertions on what must not be there."""
        return "\n".join([*self.stdout, "--- stderr ---", *self.stderr])

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)

    def reload(self) -> None:
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    async def freeze(self) -> None:
        """SIGSTOP; returns when it stands still, until SIGCONT."""
        self.process.send_signal(signal.SIGSTOP)
        await trio.to_thread.run_sync(os.waitid, os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    async def wait(self) -> int:
        """The exit code, negative for the signal that ended it, once all that it wrote has been read, too."""
        code = await self.process.wait()
        await self._ended.wait()
        return code

    async def read(self, stream: trio.abc.ReceiveStream, lines: list[str]) -> None:
        """Keep the lines of one of its streams until it closes."""
        rest = b""
        async for chunk in stream:
            *whole, rest = (rest + chunk).split(b"\n")
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
    """Run ``aintandem-notify`` with the given arguments in ``cwd``, whose HOME and state it gets too.

    ``environ`` adds to its variables, None takes one away. ``shell`` is a script that starts it, as in
    ``support.nasty.process``. ``stdout`` and ``stderr`` may be descriptors of the test's own; what is written
    there is not kept then.

    It is killed when the block is left; ``seconds`` is the most that the block may take, where it hangs: a start
    alone may take half a minute beside others.
    """
    command = ["sh", "-c", shell, "sh", sys.executable, "-m", "aintandem_notify", *map(str, arguments)]
    surroundings: dict[str, str | None] = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "XDG_STATE_HOME": str(cwd / "state"),
        "PYTHONWARNINGS": "error",
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
    """What stands in a file of JSON lines. Of one that is being written just now a part may be there already."""
    content = path.read_bytes() if path.is_file() else b""
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


async def logged(folder: Path, count: int) -> list[dict[str, Any]]:
    """The lines of notifications.jsonl once there are ``count`` of them, or more."""
    while True:
        lines = whole_lines(folder / "notifications.jsonl")
        if len(lines) >= count:
            return lines
        # Nothing tells of a file's growth on every system; each round gives the agent its turn.
        await trio.sleep(0.01)


async def ended_well(agent: AgentProcess) -> None:
    """SIGTERM ends the agent with 0, and the password stands nowhere in what it wrote."""
    agent.terminate()
    assert await agent.wait() == 0, agent.everything
    assert CANARY not in agent.everything
    assert "Traceback" not in agent.everything
