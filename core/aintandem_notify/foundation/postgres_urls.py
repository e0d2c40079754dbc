"""The schemes of a PostgreSQL database's URL; needs no driver."""

from typing import Final

POSTGRES_SCHEMES: Final = ("postgresql", "postgres", "postgresql+psycopg")
"""The usual ones, and that of SQLAlchemy for the driver that the store uses."""


def is_postgres_url(url: str) -> bool:
    """True if ``url`` names a PostgreSQL database."""
    scheme, separator, _location = url.partition("://")
    return bool(separator) and scheme in POSTGRES_SCHEMES
