"""The durable state behind one connection; synchronous. ``storage`` brings it to trio."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aintandem_notify.store.database import open_database
from aintandem_notify.store.gates import Gates
from aintandem_notify.store.journal import Journal
from aintandem_notify.store.outbox import Outbox
from aintandem_notify.store.recent import Recent


class Store:
    """``journal``, ``outbox`` and ``gates`` are used inside ``with store.transaction():`` only.

    Every method raises StoreError when the database cannot do its part.
    """

    def __init__(self, url: str | Path, *, recent: Recent | None = None) -> None:
        self._database = open_database(url)
        self._connection = self._database.connection
        self._recent = recent or Recent()
        self.journal = Journal(self._connection, self._recent)
        self.outbox = Outbox(self._connection, self._recent)
        self.gates = Gates(self._connection)

    @property
    def name(self) -> str:
        """The file or the database, for people."""
        return self._database.name

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All or nothing, on disk when it is left without an error.

        One that need not be ``durable`` may be undone, whole, by a power cut. A StoreError out of the very
        last step may leave the changes stored all the same.
        """
        with self._database.naming_errors(), self._forgetting(), self._database.transaction(durable=durable):
            yield

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """What is in memory is true only to what was committed."""
        try:
            yield
        except BaseException:
            self._recent.clear()
            raise

    def close(self) -> None:
        """Release the file; another agent may open it then."""
        with self._database.naming_errors():
            self._database.close()
