"""The durable state behind one connection; synchronous. ``storage`` brings it to trio."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aintandem_notify.store.engine import connect, disconnect, set_durable
from aintandem_notify.store.faults import naming_errors
from aintandem_notify.store.journal import Journal
from aintandem_notify.store.outbox import Outbox


class Store:
    """``journal`` and ``outbox`` are used inside ``with store.transaction():`` only.

    ``name`` is the file, for people. Every method raises StoreError when the database cannot do its part.
    """

    def __init__(self, url: str | Path) -> None:
        self._connection, self.name = connect(url)
        self._durable = True
        self.journal = Journal(self._connection)
        self.outbox = Outbox(self._connection)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All or nothing, on disk when it is left without an error.

        One that need not be ``durable`` may be undone, whole, by a power cut. A StoreError out of the very
        last step may leave the changes stored all the same.
        """
        with naming_errors(self.name):
            if durable is not self._durable:
                set_durable(self._connection, durable)
                self._durable = durable
            with self._connection.begin():
                yield

    def close(self) -> None:
        """Release the file; another agent may open it then."""
        with naming_errors(self.name):
            disconnect(self._connection)
