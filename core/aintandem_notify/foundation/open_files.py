"""Shares the process's limit of open files out between its connections. Each watched project takes a socket.

HTTP and control connections get their part before links do: without them, an agent could notify nobody.
"""

import errno
import math
from dataclasses import dataclass
from typing import Final

MIN_FILES: Final = 48
"""Descriptors that any command needs: its own, and a few connections. Measured."""
AGENT_FILES: Final = 24
"""Descriptors of an agent without any connection: 15 on Linux, and some for files that are read and for DNS."""
MAX_HTTP_CONNECTIONS: Final = 100
"""HTTP connections at a time, over all servers, where the limit allows it; our choice."""
AMPLE_HTTP_CONNECTIONS: Final = 1000
"""The same where there are ``AMPLE_FILES``. Many destinations can then hang, each with all deliveries that it may
have at a time, before another one waits for a connection.
"""
AMPLE_FILES: Final = 500_000
"""A limit as systemd and containers usually set it."""
MAX_CONTROL_CONNECTIONS: Final = 16
"""Connections to the control API at a time, where the limit allows it; our choice. A command takes one."""
FILES_PER_SIMULATED_CONNECTION: Final = 4
"""Descriptors of a connection to the embedded simulator: its two ends, and two of the wire in front of it."""

RAISE_LIMIT_ADVICE: Final = "raise it with `ulimit -n`, or with LimitNOFILE= in a systemd unit"


@dataclass(frozen=True, slots=True)
class FileBudget:
    """The number of connections that may be open at a time.

    ``links``: one for each watched project, infinite where the system sets no limit; one more is reserved for the
    handover from an old link to a new one. ``requests``: HTTP, for deliveries and REST. ``control``: the control
    API.
    """

    links: float
    requests: int = MAX_HTTP_CONNECTIONS
    control: int = MAX_CONTROL_CONNECTIONS


NO_LIMIT: Final = FileBudget(math.inf)


def file_budget(limit: int | None, *, embedded: bool = False) -> FileBudget:
    """Shares out ``limit`` descriptors. Of those that the agent does not need itself, links get at least half.

    ``embedded``: the simulator runs in the same process.
    """
    if limit is None:
        return NO_LIMIT
    room = limit - AGENT_FILES
    reserved = _reserved(room)
    control = max(min(MAX_CONTROL_CONNECTIONS, reserved // 3), 2)
    files_per_connection = FILES_PER_SIMULATED_CONNECTION if embedded else 1
    return FileBudget(
        max((room - reserved) // files_per_connection - 1, 1),
        max((reserved - control) // files_per_connection, 2),
        control,
    )


def _reserved(room: int) -> int:
    requests = AMPLE_HTTP_CONNECTIONS if room >= AMPLE_FILES else MAX_HTTP_CONNECTIONS
    return min(requests + MAX_CONTROL_CONNECTIONS, room // 2)


def files_needed(projects: int, *, embedded: bool = False) -> int:
    """The limit of open files that so many projects need."""
    links = (projects + 1) * (FILES_PER_SIMULATED_CONNECTION if embedded else 1)
    return AGENT_FILES + min(2 * links, links + MAX_HTTP_CONNECTIONS + MAX_CONTROL_CONNECTIONS)


def describe_shortage(projects: int, limit: int | None, *, embedded: bool = False) -> str | None:
    """A sentence for the operator if the limit is too low for so many projects, else None."""
    if limit is None or projects <= file_budget(limit, embedded=embedded).links:
        return None
    need = files_needed(projects, embedded=embedded)
    return f"{projects} projects need about {need} open files, the limit is {limit}: {RAISE_LIMIT_ADVICE}"


def describe_too_low_limit(limit: int | None) -> str | None:
    """A sentence for the operator if the limit is too low for any command, else None."""
    if limit is None or limit >= MIN_FILES:
        return None
    return f"only {limit} files may be open at a time, and {MIN_FILES} are needed: {RAISE_LIMIT_ADVICE}"


def describe_too_many_files(error: OSError) -> str | None:
    """A sentence for the operator if the error means that too many files are open, else None."""
    match error.errno:
        case errno.EMFILE:
            return f"too many files are open for the limit of this process: {RAISE_LIMIT_ADVICE}"
        case errno.ENFILE:
            return "too many files are open on this machine"
        case _:
            return None


def raise_file_limit() -> int | None:
    """Raises the soft limit of open files to the hard one. Returns it; None if there is none or it is unknown."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS reports no limit, and has one all the same
        return None if soft == resource.RLIM_INFINITY else soft
    return None if hard == resource.RLIM_INFINITY else hard
