"""Looking up names, each in a thread of its own.

The system's look-up blocks a thread, for half a minute and more where a name server is silent, and trio's usual
threads are few and for everybody. So each name has its own: however many names hang, another is looked up at once.
"""

import ipaddress
import re
import socket
from typing import Final

import trio

from aintandem_notify.errors import HttpFailed
from aintandem_notify.foundation.threads import run_in_thread

SECOND_QUERY_AFTER_S: Final = 15.0
"""Seconds after which a look-up that goes on is asked once more beside it; its question may have been lost."""
MAX_THREADS: Final = 2
"""Per name; whoever gave up waiting cannot end the thread that it waited for."""

_NUMBER: Final = re.compile(r"[0-9a-fA-FxX.]+")


async def resolve(host: str) -> list[str]:
    """The numeric addresses of ``host`` in the system's order of preference, each once and at least one.

    A look-up of the same name that is under way is joined. Raises HttpFailed. Has no deadline of its own.
    """
    numeric = _numeric(host)
    if numeric is not None:
        await trio.lowlevel.checkpoint()
        return [numeric]
    asked = _join_query(host)
    await asked.done.wait()
    if not asked.addresses:
        raise HttpFailed(f"cannot find the address of {host}: {asked.reason}")
    return asked.addresses


def _numeric(host: str) -> str | None:
    """``host`` if it is an address, in whatever notation the system takes one; never asks a server."""
    try:
        return str(ipaddress.ip_address(host.replace("%25", "%")))  # a scope as URLs write it (RFC 6874)
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host)) if _NUMBER.fullmatch(host) else None
    except OSError:
        return None


class _Query:
    """One question to the system: ``addresses``, or else the ``reason`` in words, once it is ``done``."""

    def __init__(self) -> None:
        self.began = trio.current_time()
        self.done = trio.Event()
        self.addresses: list[str] = []
        self.reason = "the look-up was broken off"


_under_way: trio.lowlevel.RunVar[dict[str, list[_Query]]] = trio.lowlevel.RunVar("look_ups")


def _join_query(host: str) -> _Query:
    """The look-up to wait for; begins one where there is none, or none that is young."""
    try:
        under_way = _under_way.get()
    except LookupError:
        under_way = {}
        _under_way.set(under_way)
    several = under_way.setdefault(host, [])
    is_young = bool(several) and trio.current_time() - several[-1].began < SECOND_QUERY_AFTER_S
    if not is_young and len(several) < MAX_THREADS:
        several.append(_Query())
        # Not a task of whoever asks first: the others would lose their answer with it.
        trio.lowlevel.spawn_system_task(_run_query, host, several[-1], under_way)
    return several[-1]


async def _run_query(host: str, query: _Query, under_way: dict[str, list[_Query]]) -> None:
    try:
        query.addresses = await run_in_thread(
            _getaddrinfo, host, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
        )
        query.reason = "it has none"
    except Exception as error:  # noqa: BLE001  # a border: an error in a system task ends the whole program
        query.reason = _describe_error(error)
    finally:
        query.done.set()
        under_way[host].remove(query)
        if not under_way[host]:
            del under_way[host]


def _getaddrinfo(host: str) -> list[str]:
    entries = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _describe_error(error: Exception) -> str:
    match error:
        case ValueError():  # UnicodeError, and a NUL in the name
            return "not a host name"
        case OSError(strerror=str(words)):
            return words
        case _:
            return f"the look-up failed ({type(error).__name__})"
