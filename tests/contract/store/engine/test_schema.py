"""The schema is the same in both databases, and loads only the dialect of the one that is used."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg

from aintandem_notify.store import Store

_SQLITE: Final = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'"
_POSTGRES: Final = "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '% WHERE %'"
_SCRIPT: Final = "import sys, aintandem_notify.store; print([n for n in sys.modules if 'postgresql' in n])"


def test_both_databases_have_the_same_partial_indexes(postgres_url: str, tmp_path: Path) -> None:
    with closing(Store(postgres_url)), psycopg.connect(postgres_url) as raw:
        postgres = {name for (name,) in raw.execute(_POSTGRES)}
    Store(tmp_path / "store.db").close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as lite:
        sqlite = {name for (name,) in lite.execute(_SQLITE)}
    assert "deliveries_claimed" in postgres
    assert postgres == sqlite


def test_the_dialect_of_another_database_is_not_loaded() -> None:
    """It comes with all its drivers, and each command would have to wait for it."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
