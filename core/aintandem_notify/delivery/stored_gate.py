"""One destination's gate: its current value, and reading and writing it in the store.

``worker`` owns one; ``gate`` has the transitions and ``gate_rows`` the format of a row.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from aintandem_notify.delivery.gate import HELD_STATES, Gate, GateState, after_restart, date_trouble
from aintandem_notify.delivery.gate_rows import from_row, must_be_stored, to_row
from aintandem_notify.log import get_logger
from aintandem_notify.store import GateRow, Store

_UNTIL: Final = {
    "paused": "it is resumed by hand",
    GateState.PARKED.value: "a delivery succeeds",
    GateState.DISABLED.value: "a reload or new settings, or until it is resumed by hand",
}
"""Completes "held back until …" in the log, by the state."""

log: Final = get_logger(__name__)

AddressHash = Callable[[bytes], str]
"""Returns a hash of a destination's address and credentials, made with the given salt of the store."""


class Instant(NamedTuple):
    """One moment by both clocks: wall-clock time, and trio's clock in seconds."""

    now: datetime
    now_s: float


class StoredGate:
    """Reads and writes the gate inside a transaction of the store, so that gate and deliveries change together.

    In a store with one owner the value in memory counts; the row is read once, after the start.

    In a shared store the row counts. It is read each time, with the database's clock. The agent that sends locks
    it, unless the destination is well and has no rate. Agents with different settings of the destination have a
    row each: ``variant`` is the hash of the settings.
    """

    def __init__(self, name: str, interval_s: float | None, address_hash: AddressHash | None = None) -> None:
        self._name = name
        self._compute_address_hash = address_hash
        self._address_hash: str | None = None
        self._has_looked_for_pause = False
        self._interval_s = interval_s
        self._was_read = False
        self.value: Gate = Gate()
        """The gate of the last commit."""

    def was_read(self) -> bool:
        """True if ``value`` was read from the store at least once."""
        return self._was_read

    def read(self, store: Store, instant: Instant, *, lock: bool = False) -> Gate:
        """Returns the gate. ``lock``: lock its row, before sending or changing the gate."""
        if store.membership.is_shared:
            return self._read_shared(store, instant, lock=lock)
        if not self._was_read:
            row = store.gates.read(self._name)
            if row is not None:
                self.value = after_restart(from_row(row, instant.now_s, instant.now))
                if row.address_hash is not None and row.address_hash != self._read_address_hash(store):
                    self.value = _without_trouble(self.value)  # the row is about another address
                self._log_held(self.value)
            self._was_read = True
        return self.value

    def _read_shared(self, store: Store, instant: Instant, *, lock: bool) -> Gate:
        variant, now = store.membership.variant(self._name), store.membership.now(instant.now)
        row = store.gates.read(self._name, variant)
        if lock and row is None and not self._has_looked_for_pause:
            self._has_looked_for_pause = True
            # A pause by an operator, set while no agent ran or for other settings, holds for these settings, too.
            if store.gates.variants(self._name, paused=True):
                paused = date_trouble(Gate(paused=True), now)
                store.gates.ensure(self._name, to_row(paused, instant.now_s, now), variant)
                row = store.gates.read(self._name, variant)
        if lock and row is None and self._interval_s is not None:
            store.gates.ensure(self._name, to_row(Gate(), instant.now_s, now), variant)
        if lock and (self._interval_s is not None or not _gate_of(row, instant, now).is_flowing):
            row = store.gates.read(self._name, variant, lock=True)
        gate = _gate_of(row, instant, now)
        self.value = replace(gate, turns=turns_after(self.value, gate))
        if not self._was_read:
            self._log_held(self.value)
        self._was_read = True
        return self.value

    def write(self, store: Store, before: Gate, after: Gate, instant: Instant) -> None:
        """Stores the change if it must outlive a restart or other agents must see it.

        Call ``on_committed`` after the commit; it sets ``value``.
        """
        if store.membership.is_shared:
            if before != after:
                row = to_row(after, instant.now_s, store.membership.now(instant.now))
                store.gates.write(self._name, row, store.membership.variant(self._name))
                if before.paused and not after.paused:
                    store.gates.unpause(self._name)
        elif must_be_stored(before, after, self._interval_s):
            row = to_row(after, instant.now_s, instant.now)
            store.gates.write(self._name, replace(row, address_hash=self._read_address_hash(store)))

    def _read_address_hash(self, store: Store) -> str | None:
        if self._address_hash is None and self._compute_address_hash is not None:
            self._address_hash = self._compute_address_hash(store.salt_in_transaction())
        return self._address_hash

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


def turns_after(known: Gate, gate: Gate) -> int:
    """Returns the ``turns`` of a gate that was read again: one more than it had if another agent has turned it."""
    is_worse = gate.state is not GateState.OPEN and (gate.state, gate.failures) != (known.state, known.failures)
    return known.turns + is_worse


def _without_trouble(gate: Gate) -> Gate:
    return Gate(paused=True, since=gate.since) if gate.paused else Gate()


def _gate_of(row: GateRow | None, instant: Instant, now: datetime) -> Gate:
    return Gate() if row is None else from_row(row, instant.now_s, now)
