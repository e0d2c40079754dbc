"""The addresses of the session bus, out of the environment. Pure.

jeepney has a parser, too. It fails on the whole list for one entry that it does not know, such as ``autolaunch:``,
and decodes ``%c3%a4`` to two characters.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote_to_bytes

from aintandem_notify.api import strip_unprintable

VARIABLE: Final = "DBUS_SESSION_BUS_ADDRESS"
MAX_ENTRIES: Final = 8
"""Different entries of one list that are looked at; real ones have one or two."""
_MAX_NAME: Final = 80
"""Characters of an entry that a message shows."""


@dataclass(frozen=True, slots=True)
class BusAddress:
    """One place of the bus. ``path`` is its socket, None if we cannot connect to it; ``name`` is for messages."""

    name: str
    path: str | None


def bus_addresses(environ: Mapping[str, str]) -> list[BusAddress]:
    """The places of the session bus, to be tried in this order; empty if none is configured.

    First those of ``DBUS_SESSION_BUS_ADDRESS``, which separates them by semicolons; then the bus of the user's
    systemd. The latter also counts where the variable is of no use, as with ``autolaunch:`` in a session of X11.
    """
    folder = environ.get("XDG_RUNTIME_DIR", "")
    entries = [entry for part in environ.get(VARIABLE, "").split(";") if (entry := part.strip())]
    addresses = [_address(entry, folder) for entry in list(dict.fromkeys(entries))[:MAX_ENTRIES]]
    usual = _usual_socket(folder)
    if usual is not None and all(address.path != usual for address in addresses):
        addresses.append(BusAddress(usual, usual))
    return addresses


def _address(entry: str, folder: str) -> BusAddress:
    """The place that ``transport:key=value,key=value`` names; values have escapes such as ``%2f``."""
    transport, colon, keys = entry.partition(":")
    if transport != "unix" or not colon:
        # Only the transport is named, because a command line may follow.
        return BusAddress(_readable(transport) + colon, None)
    values = dict(pair.partition("=")[::2] for pair in keys.split(","))
    decoded = {key.strip(): _unescaped(value) for key, value in values.items()}
    if path := decoded.get("path"):
        return BusAddress(_readable(path), path)
    if name := decoded.get("abstract"):
        return BusAddress(f"unix:abstract={_readable(name)}", f"\0{name}")
    if decoded.get("runtime") == "yes" and (usual := _usual_socket(folder)) is not None:
        return BusAddress(_readable(usual), usual)
    return BusAddress(_readable(entry), None)


def _unescaped(value: str) -> str:
    """``value`` without escapes; empty if no file can have such a name."""
    try:
        return os.fsdecode(unquote_to_bytes(os.fsencode(value)))
    except UnicodeEncodeError:
        return ""


def _usual_socket(folder: str) -> str | None:
    """The socket of the user's systemd; None without ``XDG_RUNTIME_DIR``."""
    return str(PurePosixPath(folder) / "bus") if folder else None


def _readable(text: str) -> str:
    safe = strip_unprintable(text.encode(errors="replace").decode())
    return safe if len(safe) <= _MAX_NAME else safe[: _MAX_NAME - 1] + "…"
