"""The backend where no agent runs: the same answers, out of the store itself."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from aintandem_notify.control import deliveries
from aintandem_notify.control.deliveries import AdminAction
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.peers import peers_of
from aintandem_notify.control.schemas import (
    BulkResponse,
    DeliveryDetailResponse,
    DeliveryPageResponse,
    DestinationChange,
    DestinationResponse,
    PauseResponse,
    PluginDetailResponse,
    StatusResponse,
    StoreResponse,
)
from aintandem_notify.delivery import NOT_CONFIGURED
from aintandem_notify.delivery import gate as gates
from aintandem_notify.delivery.gate import Gate, GateState
from aintandem_notify.delivery.gate_rows import from_row, to_row
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.store import BulkResult, DeliveryFilter, QueueSummary, Store, TransactionPurpose

NO_AGENT: Final = "no agent runs with this config"


class OfflineBackend:
    """As ``ControlBackend`` says; ``instances`` are the plugin instances of the config."""

    def __init__(self, config: Path, store: Store, instances: Sequence[str], clock: Clock) -> None:
        self._config = config
        self._store = store
        self._instances = instances
        self._clock = clock

    def status(self) -> StatusResponse:
        """What waits, and what holds it back."""
        with self._store.transaction(purpose=TransactionPurpose.READ, fenced=False):
            queues = self._store.outbox.queues()
            names = dict.fromkeys([*self._instances, *queues])
            found = {name: self._gate(name) for name in names}
            peers = peers_of(self._store, self._clock.now())
        return StatusResponse(
            config=str(self._config.absolute()),
            agent=None,
            trouble=NO_AGENT,
            destinations=tuple(
                _destination(name, found[name], queues.get(name), configured=name in self._instances)
                for name in names
                if name in queues or found[name] != Gate()
            ),
            store=StoreResponse(name=self._store.name),
            peers=peers,
        )

    def plugin(self, name: str) -> PluginDetailResponse:  # noqa: ARG002  # as the running agent is asked
        """Only an agent that runs has plugins to ask."""
        raise RequestRefused(
            f"{NO_AGENT}, so no plugin can be asked; `plugins list CONFIG` sets them up", status=503
        )

    def page(self, wanted: DeliveryFilter, *, most: int, before: int | None) -> DeliveryPageResponse:
        """The newest deliveries that are meant, before the id ``before``."""
        return deliveries.page(self._store, wanted, most=most, before=before)

    def show(self, reference: str) -> DeliveryDetailResponse:
        """All about one delivery."""
        return deliveries.show(self._store, reference)

    def apply(self, what: AdminAction, references: Sequence[str]) -> BulkResponse:
        """Retry or drop these; what is queued goes out when an agent runs."""
        now = self._clock.now()
        return deliveries.summarize([deliveries.apply(self._store, what, references, now=now, in_flight=tuple)])

    def apply_to_all(self, what: AdminAction, wanted: DeliveryFilter) -> BulkResponse:
        """Retry or drop all that are meant."""
        now, before = self._clock.now(), None
        steps: list[BulkResult] = []
        while True:
            portion = deliveries.apply_to_batch(self._store, what, wanted, before=before, now=now, in_flight=tuple)
            steps.append(portion.handled)
            if (before := portion.before) is None:
                return deliveries.summarize(steps)

    def set_paused(self, names: Sequence[str], *, paused: bool) -> PauseResponse:
        """Pause or resume these destinations, for when an agent runs."""
        step: Callable[[Gate], Gate] = gates.pause if paused else gates.resume
        if unknown := [name for name in names if name not in self._instances]:
            known = ", ".join(self._instances) or "none"
            raise RequestRefused(
                f"the config has no destination {', '.join(unknown)}; it has: {known}", status=404
            )
        with self._store.transaction(fenced=False):
            return PauseResponse(
                destinations=tuple(
                    DestinationChange(name=name, changed=self._change(name, step)) for name in dict.fromkeys(names)
                )
            )

    def _change(self, name: str, step: Callable[[Gate], Gate]) -> bool:
        # Where several agents share the store, for all settings that are known; a new one looks at those.
        variants = self._store.gates.variants(name) or [""]
        changed = [variant for variant in variants if self._change_variant(name, variant, step)]
        return bool(changed)

    def _change_variant(self, name: str, variant: str, step: Callable[[Gate], Gate]) -> bool:
        stored = self._store.gates.read(name, variant, lock=self._store.membership is not None)
        before = Gate() if stored is None else from_row(stored, 0.0, self._clock.now())
        after = step(before)
        if after != before:
            row = to_row(after, 0.0, self._clock.now())
            kept = replace(row, settings=stored.settings if stored else None)
            self._store.gates.write(name, kept, variant)
        return after != before

    def _gate(self, name: str) -> Gate:
        rows = [self._store.gates.read(name, variant) for variant in self._store.gates.variants(name)]
        found = [from_row(row, 0.0, self._clock.now()) for row in rows if row is not None]
        return min(found, key=lambda gate: gate.is_flowing, default=Gate())


def _destination(name: str, gate: Gate, queue: QueueSummary | None, *, configured: bool) -> DestinationResponse:
    flows = gate.state is GateState.OPEN and not gate.paused
    return DestinationResponse(
        name=name,
        state=(None if flows else gate.label) if configured else NOT_CONFIGURED,
        queued=queue.queued if queue else 0,
        oldest=queue.oldest if queue else None,
        last_error=gate.last_error,
    )
