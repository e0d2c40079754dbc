"""What a ``[store] url`` of PostgreSQL says; needs no driver."""

from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from aintandem_notify.errors import StoreError

SCHEMES: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


def is_postgres_url(url: str) -> bool:
    """Whether it names a PostgreSQL database."""
    return url.partition("://")[0] in SCHEMES


def parse_postgres_url(url: str) -> URL:
    """For SQLAlchemy; raises StoreError, without the url, when it cannot be read."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the port is no number, for one; the words may hold the password
        parsed = None
    if parsed is None or not parsed.database:
        raise StoreError("[store] url cannot be read; write it as postgresql://user@host/dbname")
    return parsed.set(drivername="postgresql+psycopg")


def display_name_of(url: str) -> str:
    """host/dbname, for people: neither user nor password. Raises StoreError as ``parse_postgres_url`` does."""
    parsed = parse_postgres_url(url)
    host = parsed.host or "localhost"
    return f"{host}:{parsed.port}/{parsed.database}" if parsed.port else f"{host}/{parsed.database}"
