"""The desktop backends, one for each platform."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from aintandem_notify.api import Receipt
from aintandem_notify_desktop_notify.commands import CommandBackend, macos_invocation, windows_invocation
from aintandem_notify_desktop_notify.lasting import MAX_CRITICAL
from aintandem_notify_desktop_notify.popup import Popup


class Backend(Protocol):
    """Shows popups. Connects when it is first needed, and keeps the connection until ``close``."""

    async def show(self, popup: Popup, previous: Receipt | None) -> Receipt | None:
        """Show ``popup``, if possible in place of the popup of ``previous``; raises an outcome if it fails."""
        ...

    async def check(self) -> None:
        """Raise the outcome that ``show`` would raise now, as far as it can be known without showing anything."""
        ...

    def diagnostics(self) -> Mapping[str, Any]:
        """Facts for a diagnosis."""
        ...

    def close(self) -> None:
        """Release the connection; the backend can be used again."""
        ...


def _freedesktop(max_critical: int) -> Backend:
    try:
        # jeepney is installed on Linux only.
        from aintandem_notify_desktop_notify.freedesktop import Freedesktop
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "jeepney":
            raise
        raise RuntimeError("desktop_notify needs the package jeepney on Linux: pip install jeepney") from error
    return Freedesktop(max_critical=max_critical)


_BACKENDS: Final[Mapping[str, Callable[[int], Backend]]] = {
    "linux": _freedesktop,
    # These two take every popup down by themselves, after some seconds.
    "darwin": lambda _max_critical: CommandBackend("osascript", macos_invocation),
    "win32": lambda _max_critical: CommandBackend("powershell.exe", windows_invocation),
}


def backend_for(platform: str, *, max_critical: int = MAX_CRITICAL) -> Backend:
    """The backend for ``platform`` (a ``sys.platform``); raises RuntimeError for an unsupported one.

    At most ``max_critical`` popups stay on the screen for a person to close, where popups stay at all.
    """
    if platform not in _BACKENDS:
        raise RuntimeError(f"desktop_notify knows no way to show notifications on {platform}")
    return _BACKENDS[platform](max_critical)
