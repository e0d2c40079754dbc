"""One contract for all databases: tests that use ``any_store`` run once on each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aintandem_notify.store import Store
from support import outbox


@pytest.fixture(params=["memory", "file", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.sqlite3"


@pytest.fixture
def any_store(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Makes ``outbox.memory`` and ``outbox.new_store`` open this kind of store during the test."""
    opened: list[Store] = []
    monkeypatch.setattr(outbox, "_url", store_url)
    monkeypatch.setattr(outbox, "_opened", opened)
    yield store_url
    for store in opened:
        store.close()
