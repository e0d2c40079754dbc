"""The durable state behind one connection; synchronous. ``storage`` brings it to trio."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aintandem_notify.errors import StoreError
from aintandem_notify.store.engine import connect, disconnect, identity_of, location_of, set_durable
from aintandem_notify.store.faults import naming_errors
from aintandem_notify.store.journal import Journal
from aintandem_notify.store.outbox import Outbox
from aintandem_notify.store.recent import Recent


class Store:
    """``journal`` and ``outbox`` are used inside ``with store.transaction():`` only.

    ``name`` is the file, for people. Every method raises StoreError when the database cannot do its part.
    """

    def __init__(self, url: str | Path, *, recent: Recent | None = None) -> None:
        self._connection, self.name = connect(url)
        self._path = location_of(url)
        self._identity = self._path and identity_of(self._path)
        self._durable = True
        self._recent = recent or Recent()
        self.journal = Journal(self._connection, self._recent)
        self.outbox = Outbox(self._connection, self._recent)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All or nothing, on disk when it is left without an error.

        One that need not be ``durable`` may be undone, whole, by a power cut. A StoreError out of the very
        last step may leave the changes stored all the same.
        """
        with naming_errors(self.name):
            self._check_in_place()
            if durable is not self._durable:
                set_durable(self._connection, durable)
                self._durable = durable
            try:
                with self._connection.begin():
                    yield
            except BaseException:
                self._recent.clear()
                raise

    def _check_in_place(self) -> None:
        # SQLite would write on into a file that nobody finds again, and all that is queued would be lost.
        if self._path is not None and identity_of(self._path) != self._identity:
            raise StoreError(
                f"store {self.name}: its file was moved, deleted or replaced while in use; "
                "bring it back, or restart the agent to begin anew"
            )

    def close(self) -> None:
        """Release the file; another agent may open it then."""
        with naming_errors(self.name):
            disconnect(self._connection)
