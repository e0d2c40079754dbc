"""Resolves host names, each in a thread of its own.

``getaddrinfo`` blocks a thread, for half a minute and more if a name server does not answer, and trio's usual
threads are few and shared. So each name has its own thread: names that hang do not delay other names.
"""

import ipaddress
import re
import socket
from typing import Final

import trio

from aintandem_notify.errors import HttpFailed
from aintandem_notify.foundation.threads import run_in_thread

SECOND_QUERY_AFTER_S: Final = 15.0
"""Seconds after which a second query starts beside one that still runs: its packet may have been lost."""
MAX_THREADS: Final = 2
"""Per name; a caller that stops waiting cannot end the thread."""

_NUMBER: Final = re.compile(r"[0-9a-fA-FxX.]+")


async def resolve(host: str) -> list[str]:
    """The numeric addresses of ``host`` in the system's order of preference, each once, at least one.

    Joins a running query for the same name. Raises HttpFailed. Has no deadline of its own.
    """
    numeric = _numeric(host)
    if numeric is not None:
        await trio.lowlevel.checkpoint()
        return [numeric]
    query = _join_query(host)
    await query.done.wait()
    if not query.addresses:
        raise HttpFailed(f"cannot find the address of {host}: {query.reason}")
    return query.addresses


def _numeric(host: str) -> str | None:
    """``host`` if it is an address, in any notation that the system accepts; never asks a server."""
    try:
        return str(ipaddress.ip_address(host.replace("%25", "%")))  # the scope notation of URLs (RFC 6874)
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host)) if _NUMBER.fullmatch(host) else None
    except OSError:
        return None


class _Query:
    """One query to the system. Once it is ``done`` it has ``addresses``, or else the ``reason`` in words."""

    def __init__(self) -> None:
        self.began = trio.current_time()
        self.done = trio.Event()
        self.addresses: list[str] = []
        self.reason = "the look-up was cancelled"


_running: trio.lowlevel.RunVar[dict[str, list[_Query]]] = trio.lowlevel.RunVar("look_ups")


def _join_query(host: str) -> _Query:
    """The query to wait for; starts one if none runs, or none that is young."""
    try:
        running = _running.get()
    except LookupError:
        running = {}
        _running.set(running)
    queries = running.setdefault(host, [])
    is_young = bool(queries) and trio.current_time() - queries[-1].began < SECOND_QUERY_AFTER_S
    if not is_young and len(queries) < MAX_THREADS:
        queries.append(_Query())
        # Not a task of the first caller: its cancellation would take the answer from the others.
        trio.lowlevel.spawn_system_task(_run_query, host, queries[-1], running)
    return queries[-1]


async def _run_query(host: str, query: _Query, running: dict[str, list[_Query]]) -> None:
    try:
        query.addresses = await run_in_thread(
            _getaddrinfo, host, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
        )
        query.reason = "it has none"
    except Exception as error:  # noqa: BLE001  # an error in a system task would end the whole program
        query.reason = _describe_error(error)
    finally:
        query.done.set()
        running[host].remove(query)
        if not running[host]:
            del running[host]


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
