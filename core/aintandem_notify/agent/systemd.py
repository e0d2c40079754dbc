"""Tells systemd how the agent stands: sd_notify(3), a datagram to the socket that ``NOTIFY_SOCKET`` names.

A module of ours, as the protocol is one ``sendto``: what PyPI has for it either binds libsystemd (a compiler and
its headers at every install) or has had no release for years. Nothing here blocks or raises, and away from
systemd nothing happens.
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
    """The service manager that started the process. ``watchdog_s``: seconds within which it wants to be told
    that the process is alive; None when it does not want that.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s: Final = watchdog_s
        # An address that begins with @ is one of Linux's abstract ones, which begin with a zero byte.
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._status: str | None = None
        self._failed = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """What the environment says; a watchdog that is meant for another process is left out."""
        address = environ.get("NOTIFY_SOCKET")
        if not address or not address.startswith(("/", "@")):
            return cls()
        microseconds = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        wanted = meant and microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
        return cls(address, int(microseconds) / 1e6 if wanted else None)

    def ready(self) -> None:
        """The start, or a reload, is done."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins; ``ready`` must follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The process works; feeds the watchdog, if there is one."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for people who look at the service; told when it differs from the last one."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={' '.join(text.split())}")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._failed:
                _log.warning("systemd cannot be told", reason=error.strerror or str(error))
            self._failed = True
        else:
            self._failed = False
