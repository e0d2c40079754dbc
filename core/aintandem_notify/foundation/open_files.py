"""How many descriptors the process may have open, and how they are shared out. Each watched project is a socket.

What delivers, answers and stores gets its part first: without one an agent would watch what it can tell nobody.
"""

import errno
import math
from dataclasses import dataclass
from typing import Final

MIN_FILES: Final = 48
"""Descriptors that a command needs, whichever it is; what it has itself, and a few connections. Measured."""
AGENT_FILES: Final = 24
"""Descriptors of an agent without any connection: 15 on Linux, and files that are read, look-ups of names."""
MAX_HTTP_CONNECTIONS: Final = 100
"""HTTP connections at one time, over all servers, where there is room for as many; ours."""
MAX_CONTROL_CONNECTIONS: Final = 16
"""Connections to the control API at a time, where there is room for as many; ours. Commands take one each."""
FILES_PER_SIMULATED_CONNECTION: Final = 4
"""Descriptors of a connection to the embedded simulator: its two ends, and two of the wire in front of it."""

RAISE_LIMIT_ADVICE: Final = "raise it with `ulimit -n`, or with LimitNOFILE= in a systemd unit"


@dataclass(frozen=True, slots=True)
class FileBudget:
    """How many connections may be open at a time; infinite where the system sets no limit.

    ``links``: projects that are watched; one more is kept for a link that takes the place of another.
    ``requests``: HTTP, of deliveries and REST. ``control``: the control API.
    """

    links: float
    requests: int = MAX_HTTP_CONNECTIONS
    control: int = MAX_CONTROL_CONNECTIONS


NO_LIMIT: Final = FileBudget(math.inf)


def file_budget(limit: int | None, *, embedded: bool = False) -> FileBudget:
    """Shares out ``limit`` descriptors: at most a half of what the agent itself leaves is kept back from links.

    ``embedded``: the simulator is in the same process.
    """
    if limit is None:
        return NO_LIMIT
    room = limit - AGENT_FILES
    kept = _kept_back(room)
    control = max(min(MAX_CONTROL_CONNECTIONS, kept // 3), 2)
    each = FILES_PER_SIMULATED_CONNECTION if embedded else 1
    return FileBudget(max((room - kept) // each - 1, 1), max((kept - control) // each, 2), control)


def _kept_back(room: int) -> int:
    return min(MAX_HTTP_CONNECTIONS + MAX_CONTROL_CONNECTIONS, room // 2)


def files_needed(projects: int, *, embedded: bool = False) -> int:
    """The limit that this many projects need."""
    links = (projects + 1) * (FILES_PER_SIMULATED_CONNECTION if embedded else 1)
    return AGENT_FILES + min(2 * links, links + MAX_HTTP_CONNECTIONS + MAX_CONTROL_CONNECTIONS)


def describe_shortage(projects: int, limit: int | None, *, embedded: bool = False) -> str | None:
    """A sentence for the operator where the limit does not do for so many projects; else None."""
    if limit is None or projects <= file_budget(limit, embedded=embedded).links:
        return None
    need = files_needed(projects, embedded=embedded)
    return f"{projects} projects need about {need} open files, the limit is {limit}: {RAISE_LIMIT_ADVICE}"


def describe_too_low_limit(limit: int | None) -> str | None:
    """A sentence for the operator where no command can work; else None."""
    if limit is None or limit >= MIN_FILES:
        return None
    return f"only {limit} files may be open at a time, and {MIN_FILES} are needed: {RAISE_LIMIT_ADVICE}"


def describe_too_many_files(error: OSError) -> str | None:
    """A sentence for the operator where the error is that too many files are open; else None."""
    match error.errno:
        case errno.EMFILE:
            return f"too many files are open for the limit of this process: {RAISE_LIMIT_ADVICE}"
        case errno.ENFILE:
            return "too many files are open on this machine"
        case _:
            return None


def raise_file_limit() -> int | None:
    """Let the process open as many files as it may; how many that are, None where nothing says so."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS says that there is no limit and has one all the same
        return None if soft == resource.RLIM_INFINITY else soft
    return None if hard == resource.RLIM_INFINITY else hard
