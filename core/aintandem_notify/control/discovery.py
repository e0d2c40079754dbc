"""The control file: tells the commands the address and the token of a running agent.

Each config has one control file, as it has one store. The agent locks it while it runs, and the system releases
the lock however the agent ends. An unlocked file is therefore a leftover; a process id would prove nothing, since
another process may have it by now.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from aintandem_notify.config import state_file
from aintandem_notify.foundation.private_folders import make_folder

try:
    import fcntl
except ImportError:  # Windows: an agent that does not answer counts as ended
    fcntl = None  # type: ignore[assignment]


class ControlEndpoint(BaseModel):
    """An agent's address, the bearer token that it requires, and its process id."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")

    address: str
    token: str
    pid: int


class AlreadyRunning(Exception):
    """Another agent with this config runs and owns the file."""


def control_file(config: Path) -> Path:
    """Returns the path of the control file for this config. Raises StoreError for a user without a home."""
    return state_file(config, ".control.json")


@contextmanager
def publish_endpoint(path: Path, endpoint: ControlEndpoint) -> Iterator[None]:
    """Writes the file, readable for this user only, and removes it at the end of the block.

    Raises OSError if it cannot be written, and AlreadyRunning.
    """
    if find_endpoint(path) is not None and fcntl is not None:
        raise AlreadyRunning
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        try:
            file.write(endpoint.model_dump_json())
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
                if _is_file_at(file.fileno(), path):
                    path.unlink()


def find_endpoint(path: Path) -> ControlEndpoint | None:
    """Returns the endpoint of the running agent; None if there is no file, or only a leftover."""
    try:
        with path.open("rb") as file:
            if fcntl is not None and _has_no_owner(file.fileno()):
                return None
            return ControlEndpoint.model_validate_json(file.read())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def _has_no_owner(descriptor: int) -> bool:
    """True if no agent holds the lock. If so, takes it until the descriptor is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file_at(descriptor: int, path: Path) -> bool:
    """True if the open file is still the one at ``path``."""
    return os.path.samestat(os.fstat(descriptor), path.stat())
