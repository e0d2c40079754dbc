"""The desktop backends that run a command, and the choice of a backend by platform.

There is no macOS and no Windows here: the commands are compared with the expected ones, and Python takes their
place where a command is run.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aintandem_notify.api import DestinationBroken, RetryLater, Severity
from aintandem_notify_desktop_notify.backends import backend_for
from aintandem_notify_desktop_notify.commands import (
    CommandBackend,
    Invocation,
    macos_invocation,
    windows_invocation,
)
from aintandem_notify_desktop_notify.popup import Popup

NASTY = Popup(
    app_name="AInTandem",
    summary='-e "; do shell script "rm -rf ~',
    body="$(calc.exe) `id` '; Remove-Item C:\\ -Recurse #\nsecond line",
    severity=Severity.ERROR,
)


def test_macos_gets_the_texts_as_arguments_and_the_script_over_stdin() -> None:
    invocation = macos_invocation("osascript", NASTY)

    assert invocation.argv == ("osascript", "-", NASTY.summary, NASTY.body)
    assert invocation.environ == {}
    assert invocation.stdin == macos_invocation("osascript", Popup("", "", "", Severity.INFO)).stdin
    assert b"display notification (item 2 of argv) with title (item 1 of argv)" in invocation.stdin


def test_windows_gets_the_texts_in_the_environment() -> None:
    invocation = windows_invocation("powershell.exe", NASTY)

    assert invocation.argv[:5] == ("powershell.exe", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command")
    assert invocation.argv == windows_invocation("powershell.exe", Popup("", "", "", Severity.INFO)).argv
    assert invocation.environ == {"AINTANDEM_NOTIFY_SUMMARY": NASTY.summary, "AINTANDEM_NOTIFY_BODY": NASTY.body}
    assert "$env:AINTANDEM_NOTIFY_SUMMARY" in invocation.argv[5]
    assert "$env:AINTANDEM_NOTIFY_BODY" in invocation.argv[5]


def test_the_windows_script_survives_the_command_line() -> None:
    script = windows_invocation("powershell.exe", NASTY).argv[5]

    assert '"' not in script
    assert "\n" not in script
    assert "'{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\\WindowsPowerShell\\v1.0\\powershell.exe'" in script


def test_each_platform_has_its_way() -> None:
    assert backend_for("darwin").diagnostics() == {"program": "osascript"}
    assert backend_for("win32").diagnostics() == {"program": "powershell.exe"}
    assert "connected" in backend_for("linux").diagnostics()


def test_a_platform_without_a_way_is_named() -> None:
    with pytest.raises(RuntimeError, match="on plan9"):
        backend_for("plan9")


def test_without_jeepney_the_error_on_linux_names_the_package() -> None:
    program = (
        "import sys\n"
        "sys.modules['jeepney'] = None\n"
        "import aintandem_notify_desktop_notify\n"
        "from aintandem_notify_desktop_notify.backends import backend_for\n"
        "backend_for('darwin')\n"
        "try: backend_for('linux')\n"
        "except RuntimeError as error: print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)

    assert ended.stdout == "desktop_notify needs the package jeepney on Linux: pip install jeepney\n"


def test_the_plugin_is_imported_without_jeepney() -> None:
    program = "import sys, aintandem_notify_desktop_notify\nsys.exit('jeepney' in sys.modules)\n"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def python(program: str, *, environ: bool = False) -> CommandBackend:
    """A backend whose program is Python."""

    def invocation(name: str, popup: Popup) -> Invocation:
        if environ:
            return Invocation((name, "-c", program), environ={"TEXT": popup.summary})
        return Invocation((name, "-c", program, popup.summary), stdin=popup.body.encode())

    return CommandBackend(sys.executable, invocation)


async def test_a_command_gets_its_arguments_and_its_input_as_they_are(tmp_path: Path) -> None:
    target = tmp_path / "seen"
    program = (
        "import sys, pathlib\n"
        f"seen = sys.argv[1] + '|' + sys.stdin.buffer.read().decode()\n"
        f"pathlib.Path({os.fspath(target)!r}).write_text(seen, encoding='utf-8')\n"
    )

    await python(program).show(NASTY, None)

    assert target.read_text(encoding="utf-8") == f"{NASTY.summary}|{NASTY.body}"


async def test_a_command_gets_its_environment_beside_ours(tmp_path: Path) -> None:
    target = tmp_path / "seen"
    program = (
        "import os, pathlib\n"
        f"pathlib.Path({os.fspath(target)!r}).write_text(os.environ['TEXT'] + os.environ['PATH'])\n"
    )

    await python(program, environ=True).show(NASTY, None)

    assert target.read_text() == NASTY.summary + os.environ["PATH"]


async def test_a_command_that_fails_is_tried_again_and_says_why() -> None:
    with pytest.raises(RetryLater, match="ended with code 3: not now"):
        await python("import sys; print('not now', file=sys.stderr); sys.exit(3)").show(NASTY, None)


async def test_a_command_that_is_not_there_needs_a_person() -> None:
    missing = CommandBackend("no-such-program-here", macos_invocation)

    with pytest.raises(DestinationBroken, match="no-such-program-here is not installed"):
        await missing.show(NASTY, None)
    with pytest.raises(DestinationBroken, match="no-such-program-here is not installed"):
        await missing.check()


async def test_a_check_runs_nothing() -> None:
    await python("import sys; sys.exit(3)").check()
