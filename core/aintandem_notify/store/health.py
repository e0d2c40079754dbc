"""The store's status as a value, and the functions that compute the next one after each transaction."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum, auto

from aintandem_notify.errors import StoreDamaged, StoreError, StoreFull


class StoreState(StrEnum):
    """The states of the store; the log shows their values."""

    WELL = "well"
    ON_RESERVE = "on reserve"
    """The disk is full: only things that have happened already are recorded, in the space of the reserve."""
    STUCK = "stuck"
    """Nothing can be recorded. Any later transaction may succeed and end this state."""
    DAMAGED = "damaged"
    """The file is damaged: nothing is written any more, and the agent ends."""


class TransactionPurpose(Enum):
    """The purpose of a transaction, which decides whether it is allowed while the store is in trouble."""

    WORK = auto()
    """Accepts new work; refused until the store is well."""
    RECORD = auto()
    """Records things that have happened already and must not be forgotten; may use the space of the reserve."""
    READ = auto()
    """Only reads, so its success does not show that the store is well."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """``since``: start of the trouble (aware UTC); ``reason``: one line. Both are None while the store is well."""

    state: StoreState = StoreState.WELL
    since: datetime | None = None
    reason: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether all transactions are allowed."""
        return self.state is StoreState.WELL


WELL = StoreStatus()


def after_failure(status: StoreStatus, error: StoreError, *, reserve_released: bool, now: datetime) -> StoreStatus:
    """The status after a failed transaction; ``reserve_released``: the disk reserve was freed because of it.

    A damaged store stays damaged. ``since`` stays the same until the store is well again.
    """
    if status.state is StoreState.DAMAGED:
        return status
    if isinstance(error, StoreDamaged):
        state = StoreState.DAMAGED
    elif isinstance(error, StoreFull) and reserve_released:
        state = StoreState.ON_RESERVE
    else:
        state = StoreState.STUCK
    if status.state is state:
        return status
    return StoreStatus(state, status.since or now, str(error))


def after_success(status: StoreStatus, *, has_reserve: bool) -> StoreStatus:
    """The status after a successful transaction; the store is well again only with its disk reserve."""
    if status.state is StoreState.DAMAGED or status.is_well:
        return status
    if has_reserve:
        return WELL
    return StoreStatus(StoreState.ON_RESERVE, status.since, status.reason)
