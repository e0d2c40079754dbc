"""Reports the agent's state to systemd: sd_notify(3), a datagram to the socket in ``NOTIFY_SOCKET``.

Our own module, since the protocol is one ``sendto``. The packages on PyPI either bind libsystemd (every install
needs a compiler and headers) or have had no release for years. Nothing here blocks or raises; without systemd it
does nothing.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final, Self

from aintandem_notify import log

_log = log.get_logger(__name__)


class Systemd:
    """The service manager that started the process.

    ``watchdog_s``: seconds within which it expects the next ``alive``; None without a watchdog.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s: Final = watchdog_s
        # An address with @ is one of Linux's abstract addresses; these begin with a zero byte.
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._status: str | None = None
        self._failed = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Returns the service manager in the environment. Ignores a watchdog for another process."""
        address = environ.get("NOTIFY_SOCKET")
        if not address or not address.startswith(("/", "@")):
            return cls()
        microseconds = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        has_watchdog = is_ours and microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
        return cls(address, int(microseconds) / 1e6 if has_watchdog else None)

    @property
    def is_present(self) -> bool:
        """True if a service manager listens."""
        return self._address is not None

    def ready(self) -> None:
        """Reports that the start or a reload is complete."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Reports that a reload begins; ``ready`` must follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Reports that the agent is stopping."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feeds the watchdog, if there is one."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Sets the status line of the service, if it has changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={' '.join(text.split())}")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(errors="replace"), self._address)
        except OSError as error:
            if not self._failed:
                _log.warning("systemd cannot be notified", reason=error.strerror or str(error))
            self._failed = True
        else:
            self._failed = False
