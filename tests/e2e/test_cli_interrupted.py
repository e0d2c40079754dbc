"""A signal while a command is still importing its modules."""

import signal
import sys
from pathlib import Path

import pytest
import trio

from support.number_one import as_number_one
from support.pipes import full_pipe

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself a signal there")

_PROGRAM = """
import os, signal, sys

class Signal:
    \"\"\"Comes while the module is looked for; what is raised then is lost, as in a callback of importlib.\"\"\"

    def find_spec(self, name, path=None, target=None):
        if name == module:
            try:
                os.kill(os.getpid(), number)
                for _ in range(100): pass
            except KeyboardInterrupt:
                pass

signal.signal(signal.SIGINT, signal.{before})
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
_, number, module, *arguments = sys.argv
number = int(number)
sys.argv[1:] = arguments
sys.meta_path.insert(0, Signal())
from aintandem_notify.__main__ import main
main()
"""
MOMENTS = [
    ("aintandem_notify.cli.main", "tail"),
    ("click", "--version"),
    ("aintandem_notify.live_view", "tail"),
    ("aintandem_notify.simulator", "simulate --port 0"),
    ("aintandem_notify.init_wizard", "init"),
    ("aintandem_notify.agent", "run"),
    ("aintandem_notify.plugins.config_loading", "check"),
    ("aintandem_notify.control.client.backend", "status"),
    ("trio", "run"),
    ("sqlalchemy", "run"),
]
"""A module, and a command that imports it."""


async def run_interrupted(
    module: str,
    *arguments: str,
    cwd: Path,
    number: signal.Signals = signal.SIGINT,
    before: str = "default_int_handler",
    is_number_one: bool = False,
    stderr: int | None = None,
) -> tuple[int, str]:
    """Returns the exit code and stderr of a command that gets a signal while it imports ``module``."""
    command = [sys.executable, "-c", _PROGRAM.format(before=before), str(int(number)), module, *arguments]
    with trio.fail_after(180):
        done = await trio.run_process(
            as_number_one(command) if is_number_one else command,
            cwd=cwd,
            capture_stdout=True,
            check=False,
            **({"capture_stderr": True} if stderr is None else {"stderr": stderr}),
        )
    return done.returncode, (done.stderr or b"").decode()


@pytest.mark.parametrize(("module", "command"), MOMENTS)
async def test_a_ctrl_c_among_imports_ends_the_command_at_once(module: str, command: str, tmp_path: Path) -> None:
    code, stderr = await run_interrupted(module, *command.split(), cwd=tmp_path)
    assert (code, stderr) == (128 + signal.SIGINT, "\naintandem-notify: interrupted\n")


async def test_a_ctrl_c_ends_a_command_whose_stderr_takes_nothing(tmp_path: Path) -> None:
    with full_pipe() as (_, writer):
        code, _ = await run_interrupted("click", "run", cwd=tmp_path, stderr=writer)
    assert code == 128 + signal.SIGINT


@pytest.mark.parametrize(("module", "command"), MOMENTS)
async def test_a_sigterm_among_imports_ends_number_one_too(module: str, command: str, tmp_path: Path) -> None:
    code, stderr = await run_interrupted(
        module, *command.split(), cwd=tmp_path, number=signal.SIGTERM, is_number_one=True
    )
    assert (code, stderr) == (128 + signal.SIGTERM, "")


async def test_a_sigterm_among_imports_ends_a_common_process_as_ever(tmp_path: Path) -> None:
    """It ends by the signal itself, which a service manager counts as a good end."""
    for before in ("SIG_IGN", "default_int_handler"):
        ended = await run_interrupted("click", "run", cwd=tmp_path, number=signal.SIGTERM, before=before)
        assert ended == (-signal.SIGTERM, "")


HINT = "to write a config:  aintandem-notify init config.toml"


async def test_a_hangup_among_imports_asks_run_for_what_it_does_anyway(tmp_path: Path) -> None:
    code, stderr = await run_interrupted("aintandem_notify.agent", "run", cwd=tmp_path, number=signal.SIGHUP)
    assert (code, stderr) == (2, f"config.toml: cannot be read: No such file or directory\n{HINT}\n")


async def test_a_hangup_ends_other_commands_as_ever(tmp_path: Path) -> None:
    code, _ = await run_interrupted(
        "aintandem_notify.plugins.config_loading", "check", cwd=tmp_path, number=signal.SIGHUP
    )
    assert code == -signal.SIGHUP


async def test_a_job_in_the_background_does_not_hear_the_ctrl_c_of_another(tmp_path: Path) -> None:
    assert await run_interrupted("click", "--version", cwd=tmp_path, before="SIG_IGN") == (0, "")
