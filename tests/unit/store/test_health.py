"""Every cell of the store's state table, and the classification of file headers."""

from datetime import UTC, datetime, timedelta

import pytest

from aintandem_notify.errors import StoreDamaged, StoreError, StoreFull
from aintandem_notify.store.engine.quarantine import HEADER_BYTES, HeaderKind, classify_header
from aintandem_notify.store.health import WELL, StoreState, StoreStatus, after_failure, after_success

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
ID = 0x41494E54
ON_RESERVE, STUCK, DAMAGED = StoreState.ON_RESERVE, StoreState.STUCK, StoreState.DAMAGED
FULL, BROKEN, OTHER = StoreFull("full"), StoreDamaged("broken"), StoreError("odd")


def status(state: StoreState) -> StoreStatus:
    return WELL if state is StoreState.WELL else StoreStatus(state, NOW, "first")


@pytest.mark.parametrize(
    ("before", "error", "gave_way", "after"),
    [
        (StoreState.WELL, FULL, True, ON_RESERVE),
        (StoreState.WELL, FULL, False, STUCK),
        (StoreState.WELL, OTHER, False, STUCK),
        (StoreState.WELL, BROKEN, False, DAMAGED),
        (ON_RESERVE, FULL, True, ON_RESERVE),
        (ON_RESERVE, FULL, False, STUCK),
        (ON_RESERVE, OTHER, False, STUCK),
        (ON_RESERVE, BROKEN, False, DAMAGED),
        (STUCK, FULL, True, ON_RESERVE),
        (STUCK, FULL, False, STUCK),
        (STUCK, OTHER, False, STUCK),
        (STUCK, BROKEN, False, DAMAGED),
        (DAMAGED, FULL, True, DAMAGED),
        (DAMAGED, FULL, False, DAMAGED),
        (DAMAGED, OTHER, False, DAMAGED),
        (DAMAGED, BROKEN, False, DAMAGED),
    ],
)
def test_after_a_failure(before: StoreState, error: StoreError, gave_way: bool, after: StoreState) -> None:
    result = after_failure(status(before), error, reserve_released=gave_way, now=LATER)
    assert result.state is after
    assert result.since == (LATER if before is StoreState.WELL else NOW)
    assert result.reason == ("first" if before is after else str(error))
    assert not result.is_well


@pytest.mark.parametrize(
    ("before", "has_reserve", "after"),
    [
        (StoreState.WELL, True, StoreState.WELL),
        (StoreState.WELL, False, StoreState.WELL),
        (ON_RESERVE, True, StoreState.WELL),
        (ON_RESERVE, False, ON_RESERVE),
        (STUCK, True, StoreState.WELL),
        (STUCK, False, ON_RESERVE),
        (DAMAGED, True, DAMAGED),
        (DAMAGED, False, DAMAGED),
    ],
)
def test_after_a_success(before: StoreState, has_reserve: bool, after: StoreState) -> None:
    result = after_success(status(before), has_reserve=has_reserve)
    assert result == status(after)


def header(application_id: int) -> bytes:
    return (b"SQLite format 3\0" + b"\x10" * 52 + application_id.to_bytes(4, "big")).ljust(HEADER_BYTES, b"\0")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (header(ID), HeaderKind.OURS),
        (header(0), HeaderKind.OTHER_PROGRAM),
        (header(ID + 1), HeaderKind.OTHER_PROGRAM),
        (header(ID)[:72], HeaderKind.OURS),
        (header(ID)[:71], HeaderKind.EMPTY),
        (header(ID)[:16], HeaderKind.EMPTY),
        (header(ID)[:1], HeaderKind.EMPTY),
        (b"", HeaderKind.EMPTY),
        (bytes(HEADER_BYTES), HeaderKind.EMPTY),
        (b"to do: buy milk", HeaderKind.NOT_SQLITE),
        (b"\xde\xad" * 50, HeaderKind.NOT_SQLITE),
    ],
)
def test_the_kind_of_a_header(content: bytes, kind: HeaderKind) -> None:
    assert classify_header(content, ID) is kind
