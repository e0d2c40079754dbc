"""One destination's gate: its current value, and reading and writing it in the store.

``worker`` owns one; ``gate`` has the transitions and ``gate_rows`` the format of a row.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from aintandem_notify.delivery.gate import HELD_STATES, Gate, GateState, after_restart
from aintandem_notify.delivery.gate_rows import from_row, must_be_stored, to_row
from aintandem_notify.log import get_logger
from aintandem_notify.store import GateRow, Store

_UNTIL: Final = {
    "paused": "it is resumed by hand",
    GateState.PARKED.value: "a delivery succeeds",
    GateState.DISABLED.value: "a reload or new settings, or until it is resumed by hand",
}
"""The event that ends the state, for the log."""

log = get_logger(__name__)

AddressHash = Callable[[bytes], str]
"""Returns a hash of the settings that say where a destination is, with the store's salt."""


class Instant(NamedTuple):
    """One moment by both clocks: wall-clock time, and trio's clock in seconds."""

    now: datetime
    now_s: float


class StoredGate:
    """Reads and writes the gate inside a transaction of the store, so that gate and deliveries change together.

    In a store with one owner the value in memory counts; the row is read once, after the start. In a shared store
    the row counts. It is read each time, by the database's clock, and locked by the agent that sends, unless the
    destination is well and has no rate.
    """

    def __init__(self, name: str, interval_s: float | None, place: AddressHash | None = None) -> None:
        self._name = name
        self._place = place
        self._hash: str | None = None
        self._checked_for_pause = False
        self._interval_s = interval_s
        self._known = False
        self.value = Gate()
        """The gate of the last commit."""

    def is_known(self) -> bool:
        """True if ``value`` was read from the store at least once."""
        return self._known

    def read(self, store: Store, instant: Instant, *, lock: bool = False) -> Gate:
        """Returns the gate. ``lock``: lock its row, before sending or changing the gate."""
        if store.is_shared:
            return self._read_shared(store, instant, lock=lock)
        if not self._known:
            row = store.gates.read(self._name)
            if row is not None:
                self.value = after_restart(from_row(row, instant.now_s, instant.now))
                if row.settings is not None and row.settings != self._place_hash(store):
                    self.value = Gate(paused=self.value.paused)  # the row is about another address
                self._log_held(self.value)
            self._known = True
        return self.value

    def _read_shared(self, store: Store, instant: Instant, *, lock: bool) -> Gate:
        variant, now = store.variant(self._name), store.now(instant.now)
        row = store.gates.read(self._name, variant)
        if lock and row is None and not self._checked_for_pause:
            self._checked_for_pause = True
            # An operator's pause, made without an agent or under other settings, holds for new settings, too.
            if store.gates.variants(self._name, paused=True):
                store.gates.ensure(self._name, to_row(Gate(paused=True), instant.now_s, now), variant)
                row = store.gates.read(self._name, variant)
        if lock and row is None and self._interval_s is not None:
            store.gates.ensure(self._name, to_row(Gate(), instant.now_s, now), variant)
        if lock and (self._interval_s is not None or (row is not None and not _is_unrestricted(row))):
            row = store.gates.read(self._name, variant, lock=True)
        self.value = Gate() if row is None else from_row(row, instant.now_s, now)
        if not self._known:
            self._log_held(self.value)
        self._known = True
        return self.value

    def write(self, store: Store, before: Gate, after: Gate, instant: Instant) -> None:
        """Stores the change if it must outlive a restart or other agents must see it.

        Call ``on_committed`` after the commit; it sets ``value``.
        """
        if store.is_shared:
            if before != after:
                row = to_row(after, instant.now_s, store.now(instant.now))
                store.gates.write(self._name, row, store.variant(self._name))
                if before.paused and not after.paused:
                    store.gates.unpause(self._name)
        elif must_be_stored(before, after, self._interval_s):
            row = to_row(after, instant.now_s, instant.now)
            store.gates.write(self._name, replace(row, settings=self._place_hash(store)))

    def _place_hash(self, store: Store) -> str | None:
        if self._hash is None and self._place is not None:
            self._hash = self._place(store.read_salt())
        return self._hash

    def on_committed(self, gate: Gate) -> None:
        """Sets ``value`` after the transaction that wrote this gate was committed."""
        self.value = gate

    def _log_held(self, gate: Gate) -> None:
        if gate.paused or gate.state in HELD_STATES:
            log.warning(
                "destination is held back since before the start",
                name=self._name,
                state=gate.label,
                reason=gate.last_error,
                until=_UNTIL["paused" if gate.paused else gate.state.value],
            )


def _is_unrestricted(row: GateRow) -> bool:
    return row.state == GateState.OPEN.value and not row.paused
