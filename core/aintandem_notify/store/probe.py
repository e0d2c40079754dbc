"""Looks whether a store can be opened, without changing anything, for ``check --connect``."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from aintandem_notify.errors import StoreDamaged, StoreError
from aintandem_notify.foundation.postgres_urls import is_postgres_url
from aintandem_notify.store.engine.database import NEEDS_EXTRA
from aintandem_notify.store.engine.database_errors import translate_errors
from aintandem_notify.store.engine.migrations import describe_version, version_of
from aintandem_notify.store.engine.postgres.url import display_name_of
from aintandem_notify.store.engine.quarantine import wal_path_of
from aintandem_notify.store.engine.sqlite import (
    QUICK_CHECK_BYTES,
    check_pages,
    disconnect,
    is_own_file,
    require_regular_file,
    sqlite_path_of,
)

IN_USE: Final = "in use, or left open by a kill"


def probe_store(url: str | Path) -> str:
    """The state of the store at ``url`` in a few words. Creates, locks and changes nothing. Raises StoreError."""
    if isinstance(url, str) and is_postgres_url(url):
        return _probe_postgres(url)
    path = sqlite_path_of(url)
    return "in memory; nothing outlives a restart" if path is None else _probe_file(path)


def _probe_postgres(url: str) -> str:
    name = display_name_of(url)
    try:
        from aintandem_notify.store.engine.postgres.probe import probe_postgres
    except ImportError as error:
        raise StoreError(f"store {name}: {NEEDS_EXTRA}") from error
    try:
        return f"{name}: {probe_postgres(url)}"
    except StoreError as error:
        raise _named(error, name) from error


def _named(error: StoreError, name: str) -> StoreError:
    """The error with the name of the store in its text."""
    return error if str(error).startswith("store ") else StoreError(f"store {name}: {error}")


def _probe_file(path: Path) -> str:
    with translate_errors(str(path)):
        require_regular_file(path)
        if not is_own_file(path):
            _require_creatable(path)
            return f"{path}: none yet; the agent creates it"
        is_open = wal_path_of(path).exists()
        try:
            state = _read_state(path, is_complete=not is_open)
        except StoreDamaged:
            if not is_open:
                raise
            # An agent was just writing to it, or its pages are still in the WAL: only its next start can check it.
            return f"{path}: {IN_USE}"
    return f"{path}: {state}; {IN_USE}" if is_open else f"{path}: {state}"


def _read_state(path: Path, *, is_complete: bool) -> str:
    with translate_errors(str(path)):
        connection = _open_read_only(path)
        try:
            if is_complete and path.stat().st_size <= QUICK_CHECK_BYTES:
                check_pages(connection, path, "quick_check")
            return describe_version(version_of(connection))
        except StoreError as error:
            raise _named(error, str(path)) from error
        finally:
            disconnect(connection)


def _open_read_only(path: Path) -> Connection:
    # "immutable" takes no lock and creates no file beside the store; it does not read the WAL.
    location = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    engine = create_engine(
        "sqlite://",
        poolclass=StaticPool,
        hide_parameters=True,
        creator=lambda: sqlite3.connect(location, uri=True, check_same_thread=False, isolation_level=None),
    )
    return engine.connect()


def _require_creatable(path: Path) -> None:
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise StoreError(f"store {path}: {folder} is no folder; set another [store] url")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"store {path}: nothing can be created in {folder}; check its permissions")
