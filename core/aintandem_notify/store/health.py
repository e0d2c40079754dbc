"""Whether the store is well, as a value that each transaction turns into the next."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum, auto

from aintandem_notify.errors import StoreDamaged, StoreError, StoreFull


class StoreState(StrEnum):
    """How the store stands."""

    WELL = "well"
    ON_RESERVE = "on reserve"
    """There is no room: only what has happened already is recorded, in the room that the reserve left."""
    STUCK = "stuck"
    """Nothing can be recorded. Every transaction that is tried may find that this is over."""
    DAMAGED = "damaged"
    """The file is broken; nothing is written any more, and the agent ends."""


class TransactionPurpose(Enum):
    """What a transaction is for, which says whether it may go on while the store is in trouble."""

    WORK = auto()
    """Takes on more; waits until the store is well."""
    RECORD = auto()
    """Records what has happened already and must not be forgotten; may use the room of the reserve."""
    READ = auto()
    """Only reads, so that it works says nothing."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """``since`` when it is in trouble (aware UTC), and the ``reason`` as one line; None while it is well."""

    state: StoreState = StoreState.WELL
    since: datetime | None = None
    reason: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether everything goes on as usual."""
        return self.state is StoreState.WELL


WELL = StoreStatus()


def after_failure(status: StoreStatus, error: StoreError, *, reserve_released: bool, now: datetime) -> StoreStatus:
    """The status once a transaction failed; ``reserve_released`` when the reserve could be given up for it.

    What is damaged stays so. A spell of trouble keeps its beginning, whatever turns up in it.
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
    """The status once a transaction was stored; well again only with a reserve for the next time."""
    if status.state is StoreState.DAMAGED or status.is_well:
        return status
    if has_reserve:
        return WELL
    return StoreStatus(StoreState.ON_RESERVE, status.since, status.reason)
