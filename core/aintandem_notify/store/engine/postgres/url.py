"""Parses a ``[store] url`` of PostgreSQL; needs no driver."""

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from aintandem_notify.errors import StoreError


def parse_postgres_url(url: str) -> URL:
    """``url`` for SQLAlchemy. Raises StoreError when it cannot be parsed; the error does not contain the url."""
    try:
        parsed = make_url(url)
    except (
        ArgumentError,
        ValueError,
    ):  # such as a port that is no number; the error text may contain the password
        parsed = None
    if parsed is None or not parsed.database:
        raise StoreError("[store] url cannot be read; write it as postgresql://user@host/dbname")
    return parsed.set(drivername="postgresql+psycopg")


def display_name_of(url: str) -> str:
    """host/dbname for messages, without user and password. Raises StoreError as ``parse_postgres_url`` does."""
    parsed = parse_postgres_url(url)
    host = parsed.host or "localhost"
    return f"{host}:{parsed.port}/{parsed.database}" if parsed.port else f"{host}/{parsed.database}"
