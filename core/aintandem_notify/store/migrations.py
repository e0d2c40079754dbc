"""Brings an older store up to this version's schema, and refuses a newer one.

A new store is made whole from ``schema`` at the newest version. A change of the schema raises ``VERSION`` and
adds the step that leads there from the version before; steps are never changed once released.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, update

from aintandem_notify.errors import StoreError
from aintandem_notify.store.schema import meta, metadata

Step = Callable[[Connection], None]
"""Changes tables and rows from one version to the next, inside a transaction."""

VERSION: Final = 1

STEPS: Final[Mapping[int, Step]] = MappingProxyType({})
"""The version that a step leads to, and the step."""

_KEY: Final = "schema_version"


def create(connection: Connection, version: int = VERSION) -> None:
    """All tables, in an empty database."""
    metadata.create_all(connection)
    connection.execute(insert(meta), {"key": _KEY, "value": str(version)})


def upgrade(connection: Connection, *, version: int = VERSION, steps: Mapping[int, Step] = STEPS) -> None:
    """Take the store to ``version``, a step at a time.

    Raises StoreError when it is newer than that, or holds no version. The caller's transaction makes it all
    or nothing.
    """
    found = _version_of(connection)
    if found > version:
        raise StoreError(
            f"its schema has version {found} and this aintandem-notify knows version {version}: "
            "it was used by a newer release; install that one again, or set another [store] url"
        )
    for target in range(found + 1, version + 1):
        steps[target](connection)
        connection.execute(update(meta).where(meta.c.key == _KEY).values(value=str(target)))


def _version_of(connection: Connection) -> int:
    if not inspect(connection).has_table(meta.name):
        raise StoreError("it holds no tables of ours; move it away, or set another [store] url")
    found = connection.execute(select(meta.c.value).where(meta.c.key == _KEY)).scalar_one_or_none()
    if found is None or not found.isdecimal():
        raise StoreError("its schema version cannot be read; move it away, or set another [store] url")
    return int(found)
