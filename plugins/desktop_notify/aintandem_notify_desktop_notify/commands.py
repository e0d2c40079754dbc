"""The backend that runs a program for each popup: macOS and Windows.

The texts of a notification are passed as arguments or environment variables. They never become part of a
script, so that nothing in them can be executed.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from aintandem_notify.api import DestinationBroken, Receipt, RetryLater
from aintandem_notify_desktop_notify.popup import Popup

_APPLESCRIPT: Final = """\
on run argv
    display notification (item 2 of argv) with title (item 1 of argv)
end run
"""

# The toast is shown in the name of PowerShell, which has the registration that Windows requires. One line and no
# double quotes, because programs on Windows parse anything else in different ways.
_POWERSHELL: Final = "; ".join(
    (
        "$ErrorActionPreference = 'Stop'",
        (
            "$ui = [Windows.UI.Notifications.ToastNotificationManager, "
            "Windows.UI.Notifications, ContentType = WindowsRuntime]"
        ),
        "$toast = $ui::GetTemplateContent([Windows.UI.Notifications.ToastTemplateType]::ToastText02)",
        "$texts = $toast.GetElementsByTagName('text')",
        "$null = $texts.Item(0).AppendChild($toast.CreateTextNode($env:AINTANDEM_NOTIFY_SUMMARY))",
        "$null = $texts.Item(1).AppendChild($toast.CreateTextNode($env:AINTANDEM_NOTIFY_BODY))",
        "$sender = '{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\\WindowsPowerShell\\v1.0\\powershell.exe'",
        "$ui::CreateToastNotifier($sender).Show([Windows.UI.Notifications.ToastNotification]::new($toast))",
    )
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """A program to run: its arguments, standard input and additional environment variables."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    environ: Mapping[str, str] = field(default_factory=dict)


def macos_invocation(program: str, popup: Popup) -> Invocation:
    """``osascript -``: the script is its standard input, and arguments after ``-`` are never options."""
    return Invocation((program, "-", popup.summary, popup.body), stdin=_APPLESCRIPT.encode())


def windows_invocation(program: str, popup: Popup) -> Invocation:
    """PowerShell with a script that reads the texts from its environment."""
    return Invocation(
        (program, "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", _POWERSHELL),
        environ={"AINTANDEM_NOTIFY_SUMMARY": popup.summary, "AINTANDEM_NOTIFY_BODY": popup.body},
    )


class CommandBackend:
    """Runs a program for each popup. Cannot replace an earlier popup."""

    def __init__(self, program: str, invocation: Callable[[str, Popup], Invocation]) -> None:
        self._program = program
        self._invocation = invocation

    async def show(self, popup: Popup, previous: Receipt | None) -> None:  # noqa: ARG002  # nothing to replace
        """Run the program and wait for its end."""
        invocation = self._invocation(self._program, popup)
        try:
            process = await trio.run_process(
                invocation.argv,
                stdin=invocation.stdin,
                env={**os.environ, **invocation.environ},
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise DestinationBroken(f"{self._program} is not installed") from error
        if process.returncode:
            text = process.stderr.decode(errors="replace").strip()[:200]
            raise RetryLater(f"{self._program} ended with code {process.returncode}: {text}")

    async def check(self) -> None:
        """Raise DestinationBroken if the program is not installed."""
        if shutil.which(self._program) is None:
            raise DestinationBroken(f"{self._program} is not installed")

    def diagnostics(self) -> Mapping[str, Any]:
        """The program's name."""
        return {"program": self._program}

    def close(self) -> None:
        """No-op: nothing is kept open."""
