"""The file that tells the commands where a running agent is, and the token that it wants.

One for each config, like its store. The agent keeps it locked while it runs, and the system lets go of the lock
whatever the agent ends by: so a file that a killed agent has left is known by nobody holding it, and not by a
process id that another process may have by now.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from aintandem_notify.config import state_file
from aintandem_notify.foundation.private_folders import make_folder

try:
    import fcntl
except ImportError:  # Windows: there the agent is asked, and what does not answer is taken for gone
    fcntl = None  # type: ignore[assignment]


class ControlEndpoint(BaseModel):
    """Where an agent listens, what it wants to be told, and its process."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    address: str
    token: str
    pid: int


class AlreadyRunning(Exception):
    """Another agent with this config runs, and the file is its."""


def control_file(config: Path) -> Path:
    """Where the file of the agent with this config is. Raises StoreError for a user without a home."""
    return state_file(config, ".control.json")


@contextmanager
def publish_endpoint(path: Path, whereabouts: ControlEndpoint) -> Iterator[None]:
    """The file, readable for this user only, for as long as the block lasts.

    Raises OSError when it cannot be written, and HeldByAnother.
    """
    if find_endpoint(path) is not None and fcntl is not None:
        raise AlreadyRunning
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        try:
            file.write(whereabouts.model_dump_json())
            file.flush()
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        try:
            yield
        finally:
            with suppress(OSError):
                if _is_at(file.fileno(), path):
                    path.unlink()


def find_endpoint(path: Path) -> ControlEndpoint | None:
    """Where the agent is; None when none has left a file, or one that has ended did."""
    try:
        with path.open("rb") as file:
            if fcntl is not None and _lock(file.fileno()):
                return None
            return ControlEndpoint.model_validate_json(file.read())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def _lock(descriptor: int) -> bool:
    """Whether nobody held the file; it is let go when the descriptor is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one that stands at ``path``."""
    return os.path.samestat(os.fstat(descriptor), path.stat())
