"""A way to join one PostgreSQL store as an agent."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from aintandem_notify.store import Store
from aintandem_notify.store.sharing.membership import ConfiguredDestination
from support.members import SAME, Join, member


@pytest.fixture
def join(postgres_url: str, long_leases: float) -> Iterator[Join]:
    """Opens the database as a new agent with the given name."""
    with ExitStack() as opened:

        def join(node: str, destinations: Mapping[str, ConfiguredDestination] = SAME) -> Store:
            store = Store(postgres_url)
            opened.callback(store.close)
            member(store).destinations = destinations
            store.join(node, projects_hash="all", version="1")
            return store

        yield join
