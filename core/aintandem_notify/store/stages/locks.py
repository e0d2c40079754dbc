"""The locks under which the stages decide in a shared store: one agent at a time for each destination.

Windows and holds belong to a destination. A transaction locks it before it reads a window for a decision, or
changes a hold; adding to a hold needs no lock. Nobody waits for a second destination but in the order of
``wait_for``, so no two agents wait for each other. Silences are locked before the destinations.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from sqlalchemy import ARRAY, BigInteger, Connection, bindparam, text

_WAIT: Final = text("SELECT pg_advisory_xact_lock(key) FROM unnest(:keys) AS key").bindparams(
    bindparam("keys", type_=ARRAY(BigInteger))
)
_TRY: Final = text("SELECT pg_try_advisory_xact_lock(:key)")


class StageLocks:
    """The locks of a store; each lasts until the transaction ends. They do nothing in a store with one owner."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.is_shared: Final = connection.dialect.name == "postgresql"

    def wait_for(self, destinations: Iterable[str]) -> None:
        """Lock all these destinations; for a transaction that has not locked another one yet."""
        if self.is_shared and (keys := sorted({_key(destination) for destination in destinations})):
            self._connection.execute(_WAIT, {"keys": keys})

    def take(self, destination: str) -> bool:
        """Lock the destination; False if another agent has locked it."""
        return not self.is_shared or bool(self._connection.execute(_TRY, {"key": _key(destination)}).scalar())


def _key(destination: str) -> int:
    """A signed 64-bit number."""
    digest = blake2b(destination.encode("utf-8", "replace"), digest_size=8, person=b"stages").digest()
    return int.from_bytes(digest, "big", signed=True)
