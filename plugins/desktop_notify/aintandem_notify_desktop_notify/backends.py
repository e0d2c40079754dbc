"""The ways to a desktop, one for each platform."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from aintandem_notify.api import Receipt
from aintandem_notify_desktop_notify.commands import CommandBackend, macos_invocation, windows_invocation
from aintandem_notify_desktop_notify.popup import Popup


class Backend(Protocol):
    """Shows popups. Holds what it needs for that until ``close``, and gets it when it is first needed."""

    async def show(self, popup: Popup, previous: Receipt | None) -> Receipt | None:
        """Show ``popup``, in the place of what ``previous`` stands for if that can be; an outcome otherwise."""
        ...

    async def check(self) -> None:
        """Raise the outcome that a ``show`` would have now, as far as can be told without showing anything."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What to look at in case of trouble."""
        ...

    def close(self) -> None:
        """Give everything back; may be used again afterwards."""
        ...


def _freedesktop() -> Backend:
    try:
        # jeepney is installed on Linux only.
        from aintandem_notify_desktop_notify.freedesktop import Freedesktop
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "jeepney":
            raise
        raise RuntimeError("desktop_notify needs the package jeepney on Linux: pip install jeepney") from error
    return Freedesktop()


_BACKENDS: Final[Mapping[str, Callable[[], Backend]]] = {
    "linux": _freedesktop,
    "darwin": lambda: CommandBackend("osascript", macos_invocation),
    "win32": lambda: CommandBackend("powershell.exe", windows_invocation),
}


def backend_for(platform: str) -> Backend:
    """The way to the desktop of ``platform`` (a ``sys.platform``); raises RuntimeError where there is none."""
    if platform not in _BACKENDS:
        raise RuntimeError(f"desktop_notify knows no way to show notifications on {platform}")
    return _BACKENDS[platform]()
