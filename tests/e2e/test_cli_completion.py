"""The lines of the page about running the agent make a shell complete commands, options, values and files."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
# Stands in for readline: sets its variables, calls the function, and notes the kind of files to complete with.
COMPLETE = """
compopt() { FILES="$2"; }
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); FILES=""
function=$(complete -p aintandem-notify | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
$function aintandem-notify
printf '%s\\n' "${COMPREPLY[@]}"
[ -z "$FILES" ] || echo "files: $FILES"
"""


def line_for(shell: str) -> str:
    found = re.search(rf".*_AINTANDEM_NOTIFY_COMPLETE={shell}_source aintandem-notify.*", PAGE)
    assert found is not None
    return found[0]


def completed(folder: Path, *words: str) -> list[str]:
    """The lines that bash would offer for the last of ``words``."""
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{line_for('bash')}\n{COMPLETE}", "bash", *words],
        cwd=folder,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("aintandem-notify", "dest"), ["destinations"]),
        (("aintandem-notify", "destinations", ""), ["list", "pause", "resume"]),
        (("aintandem-notify", "deliveries", "list", "--ta"), ["--task"]),
        (("aintandem-notify", "deliveries", "list", "--state", "d"), ["delivered", "dead"]),
        (("aintandem-notify", "run", "con"), ["", "files: default"]),
        (("aintandem-notify", "test", "con"), ["", "files: default"]),
    ],
)
def test_bash_completes(tmp_path: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(tmp_path, *words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_writes_the_script_of_each_shell(tmp_path: Path, shell: str) -> None:
    assert line_for(shell)
    done = subprocess.run(
        [sys.executable, "-m", "aintandem_notify"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "_AINTANDEM_NOTIFY_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert f"_AINTANDEM_NOTIFY_COMPLETE={shell}_complete" in done.stdout
