"""A Ctrl-C while a command is still importing its modules."""

import signal
import sys
from pathlib import Path

import pytest
import trio

_PROGRAM = """
import os, signal, sys

class CtrlC:
    \"\"\"Comes while the module is looked for; what is raised then is lost, as in a callback of importlib.\"\"\"

    def find_spec(self, name, path=None, target=None):
        if name == module:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(100): pass
            except KeyboardInterrupt:
                pass

signal.signal(signal.SIGINT, signal.{before})
_, module, *arguments = sys.argv
sys.argv[1:] = arguments
sys.meta_path.insert(0, CtrlC())
from aintandem_notify.__main__ import main
main()
"""


async def run_interrupted(
    module: str, *arguments: str, cwd: Path, before: str = "default_int_handler"
) -> tuple[int, str]:
    """The exit code and what was said on stderr, when a Ctrl-C comes as ``module`` is imported."""
    with trio.fail_after(180):
        done = await trio.run_process(
            [sys.executable, "-c", _PROGRAM.format(before=before), module, *arguments],
            cwd=cwd,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return done.returncode, done.stderr.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself a Ctrl-C there")
@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("click", "--version"),
        ("aintandem_notify.cli.main", "tail"),
        ("aintandem_notify.tail", "tail"),
        ("aintandem_notify.simulator", "simulate --port 0"),
        ("aintandem_notify.setup", "init"),
        ("aintandem_notify.agent", "run"),
        ("aintandem_notify.loading", "check"),
    ],
)
async def test_a_ctrl_c_among_imports_ends_the_command_at_once(module: str, command: str, tmp_path: Path) -> None:
    code, said = await run_interrupted(module, *command.split(), cwd=tmp_path)
    assert (code, said) == (128 + signal.SIGINT, "\naintandem-notify: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself a Ctrl-C there")
async def test_a_job_in_the_background_does_not_hear_the_ctrl_c_of_another(tmp_path: Path) -> None:
    assert await run_interrupted("click", "--version", cwd=tmp_path, before="SIG_IGN") == (0, "")
