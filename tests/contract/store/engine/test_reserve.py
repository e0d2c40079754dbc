"""The disk reserve, and the transactions that a store allows while it uses it."""

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from aintandem_notify.errors import StoreDamaged, StoreError, StoreFull
from aintandem_notify.store import WELL, DeliveryState, Settlement, Store, StoreState, TransactionPurpose
from aintandem_notify.store.engine.reserve import Reserve
from support.outbox import NOW, SetClock, claim_all, event, inside, queue_up
from support.small_disk import SmallDisk, disk

__all__ = ["disk"]

SIZE = 2 * 1024 * 1024
MANY = [event("task_failed", run=f"t{n}", error="x" * 2000) for n in range(200)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db"


def test_a_reserve_is_created_released_and_restored(path: Path) -> None:
    with closing(Reserve(path, SIZE)) as reserve:
        file = reserve.path
        assert not reserve.is_whole
        assert reserve.restore()
        assert reserve.is_whole
        assert file.stat().st_size == SIZE
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert reserve.release()
        assert file.stat().st_size == 0
        assert not reserve.release()
        assert reserve.restore()
    with closing(Reserve(path, SIZE)) as reserve:
        assert reserve.is_whole  # so an agent can start on a full disk


def test_a_reserve_has_one_owner(path: Path) -> None:
    with closing(Reserve(path, 0)), pytest.raises(StoreError, match="in use by another agent"):
        Reserve(path, 0)
    Reserve(path, 0).close()


def test_a_reserve_is_created_only_if_as_much_again_is_free(disk: SmallDisk) -> None:
    with closing(Reserve(disk.path / "agent.db", SIZE)) as reserve:
        disk.fill()
        assert not reserve.restore()
        disk.cut(3 * SIZE // 2)
        assert not reserve.restore()
        assert reserve.path.stat().st_size == 0
        disk.cut(SIZE // 2)
        assert reserve.restore()


def test_a_suspect_store_is_checked_thoroughly_once(path: Path) -> None:
    with closing(Reserve(path, 0)) as reserve:
        reserve.mark_suspect()
    with closing(Reserve(path, 0)) as reserve:
        assert reserve.is_suspect
        reserve.clear_suspect()
    with closing(Reserve(path, 0)) as reserve:
        assert not reserve.is_suspect


def waiting(store: Store) -> int:
    with store.transaction(purpose=TransactionPurpose.READ):
        return sum(queue.queued for queue in store.outbox.queues().values())


def test_a_full_disk_allows_only_records_of_the_past(disk: SmallDisk) -> None:
    clock = SetClock(NOW)
    with closing(Store(disk.path / "agent.db", clock=clock, reserve_bytes=SIZE)) as store:
        queue_up([event("task_started", run="first")])(store)
        claim = claim_all()(store)[0]
        assert store.status == WELL
        disk.fill()
        with pytest.raises(StoreFull, match="the disk is full"):
            queue_up(MANY)(store)
        assert (store.status.state, store.status.since) == (StoreState.ON_RESERVE, NOW)
        clock.time += timedelta(seconds=5)
        with pytest.raises(StoreFull, match="the disk is full"):
            claim_all()(store)
        with store.transaction(purpose=TransactionPurpose.RECORD):
            store.outbox.settle([Settlement(claim, DeliveryState.DELIVERED, NOW, NOW)])
        assert waiting(store) == 0
        assert (store.status.state, store.status.since) == (StoreState.ON_RESERVE, NOW)
        disk.empty()
        assert waiting(store) == 0
        assert store.status.state is StoreState.ON_RESERVE  # only a write shows that the trouble is over
        store.touch()
        assert store.status == WELL
        queue_up(MANY)(store)
        assert waiting(store) == len(MANY)


def test_without_room_for_the_reserve_no_work_begins(disk: SmallDisk) -> None:
    path = disk.path / "agent.db"
    Store(path).close()
    disk.fill()
    disk.cut(SIZE)
    with closing(Store(path, reserve_bytes=SIZE)) as store:
        assert store.status.state is StoreState.ON_RESERVE
        assert "the disk is nearly full; new work waits until 4 MB are free" in str(store.status.reason)
        with pytest.raises(StoreFull, match="nearly full"):
            queue_up(MANY)(store)
        disk.empty()
        queue_up(MANY)(store)
        assert store.status == WELL


def test_a_store_opens_on_a_full_disk_with_its_reserve(disk: SmallDisk) -> None:
    path = disk.path / "agent.db"
    with closing(Store(path, reserve_bytes=SIZE)) as store:
        queue_up(MANY)(store)
    disk.fill()
    with closing(Store(path, reserve_bytes=SIZE)) as store:
        assert store.status.state is StoreState.ON_RESERVE
        assert waiting(store) == len(MANY)


def fail_with(code: str) -> Callable[[Store], None]:
    def fail(store: Store) -> None:
        raise_as(code)

    return inside(fail)


def raise_as(code: str) -> None:
    error = sqlite3.OperationalError("words of sqlite")
    error.sqlite_errorname = code
    raise error


def test_a_damaged_store_is_not_written_any_more(path: Path) -> None:
    with closing(Store(path)) as store:
        with pytest.raises(StoreDamaged):
            fail_with("SQLITE_CORRUPT_VTAB")(store)
        assert store.status.state is StoreState.DAMAGED
        for purpose in TransactionPurpose:
            with pytest.raises(StoreDamaged, match="nothing more is written"), store.transaction(purpose=purpose):
                raise AssertionError("let in")
    with closing(Store(path)) as store:  # the check found no damage
        assert store.status == WELL
        queue_up(MANY)(store)


def test_an_index_that_does_not_fit_is_found_once_the_store_is_suspect(path: Path) -> None:
    with closing(Store(path)) as store:
        queue_up(MANY)(store)
        with pytest.raises(StoreDamaged):
            fail_with("SQLITE_CORRUPT")(store)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute("DELETE FROM sqlite_schema WHERE name = 'deliveries_next'")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("DELETE FROM deliveries WHERE id = 1")
    with pytest.raises(StoreDamaged, match="it was put aside as"):
        Store(path)


@pytest.mark.parametrize("code", ["SQLITE_READONLY_DBMOVED", "SQLITE_IOERR_READ", "SQLITE_IOERR_WRITE"])
def test_other_trouble_ends_with_the_first_successful_write(path: Path, code: str) -> None:
    with closing(Store(path)) as store:
        with pytest.raises(StoreError):
            fail_with(code)(store)
        assert store.status.state is StoreState.STUCK
        with store.transaction(purpose=TransactionPurpose.READ):
            store._connection.execute(text("SELECT 1"))
        assert store.status.state is StoreState.STUCK
        queue_up(MANY)(store)
        assert store.status == WELL
