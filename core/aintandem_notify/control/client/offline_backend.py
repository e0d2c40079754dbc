"""The backend where no agent runs: gives the same responses from the store alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from aintandem_notify.control import deliveries, silences
from aintandem_notify.control.deliveries import AdminAction
from aintandem_notify.control.episodes.changes import Snooze, acknowledge, end, snooze
from aintandem_notify.control.episodes.lists import list_episodes
from aintandem_notify.control.episodes.schemas import (
    AcknowledgementResponse,
    EpisodeEndResponse,
    EpisodeListResponse,
)
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.explain.answers import explain_reference, explainer_of
from aintandem_notify.control.explain.schemas import ExplanationResponse
from aintandem_notify.control.peers import peers_of
from aintandem_notify.control.schemas import (
    BulkResponse,
    DeliveryDetailResponse,
    DeliveryPageResponse,
    DestinationChange,
    DestinationListResponse,
    DestinationResponse,
    PauseResponse,
    PluginDetailResponse,
    SilenceListResponse,
    SilenceResponse,
    StatusResponse,
    StoreResponse,
)
from aintandem_notify.delivery import NOT_CONFIGURED
from aintandem_notify.delivery import gate as gates
from aintandem_notify.delivery.gate import Gate, date_trouble
from aintandem_notify.delivery.gate_rows import from_row, to_row
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.plugins.config_loading import load
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import BulkResult, DeliveryFilter, QueueStats, Store, TransactionPurpose

NO_AGENT: Final = "no agent runs with this config"


class OfflineBackend:
    """Implements ``backend.ControlBackend``. ``instances`` are the names of the config's plugin instances."""

    def __init__(self, config: Path, store: Store, instances: Sequence[str], clock: Clock) -> None:
        self._config = config
        self._store = store
        self._instances = instances
        self._clock = clock

    def status(self) -> StatusResponse:
        """Returns the queues and the gates that hold them back."""
        with self._store.transaction(purpose=TransactionPurpose.READ, fenced=False):
            destinations = self._destinations()
            peers = peers_of(self._store, self._clock.now())
            held = silences.held_of(self._store)
            open_episodes = self._store.episodes.count_open()
        return StatusResponse(
            config=str(self._config.absolute()),
            agent=None,
            trouble=NO_AGENT,
            destinations=tuple(entry for entry in destinations if entry != _untouched(entry.name)),
            held=held,
            episodes=open_episodes,
            store=StoreResponse(name=self._store.name),
            peers=peers,
        )

    def destinations(self) -> DestinationListResponse:
        """Returns all instances of the config, and those that only have a queue.

        Only an agent knows which instances are destinations.
        """
        with self._store.transaction(purpose=TransactionPurpose.READ, fenced=False):
            return DestinationListResponse(destinations=self._destinations())

    def _destinations(self) -> tuple[DestinationResponse, ...]:
        queues, now = self._store.outbox.queues(), self._clock.now()
        return tuple(
            _destination(name, self._gate(name), queues.get(name), now, configured=name in self._instances)
            for name in dict.fromkeys([*self._instances, *queues])
        )

    def plugin(self, name: str) -> PluginDetailResponse:  # noqa: ARG002  # the signature of the protocol
        """Raises RequestRefused: only a running agent has plugin instances."""
        raise RequestRefused(
            f"{NO_AGENT}, so no plugin can be asked; `plugins list CONFIG` sets them up", status=503
        )

    def page(self, delivery_filter: DeliveryFilter, *, limit: int, before: int | None) -> DeliveryPageResponse:
        """Returns up to ``limit`` matching deliveries with an id below ``before``, the newest first."""
        search = deliveries.PageSearch(delivery_filter, limit, before)
        while not search.is_complete:
            search = deliveries.search_on(self._store, search, self._instances)
        return search.response()

    def show(self, reference: str) -> DeliveryDetailResponse:
        """Returns everything about one delivery."""
        return deliveries.show(self._store, reference, self._clock.now())

    def apply(self, action: AdminAction, references: Sequence[str]) -> BulkResponse:
        """Retries or drops these deliveries. Queued ones are sent once an agent runs."""
        now = self._clock.now()
        return deliveries.summarize([deliveries.apply(self._store, action, references, now=now, in_flight=tuple)])

    def apply_to_all(self, action: AdminAction, delivery_filter: DeliveryFilter) -> BulkResponse:
        """Retries or drops all matching deliveries."""
        now, before = self._clock.now(), None
        batches: list[BulkResult] = []
        while True:
            batch = deliveries.apply_to_batch(
                self._store,
                action,
                delivery_filter,
                before=before,
                now=now,
                in_flight=tuple,
                configured=self._instances,
            )
            batches.append(batch.result)
            if (before := batch.before) is None:
                return deliveries.summarize(batches)

    def set_paused(self, names: Sequence[str], *, paused: bool) -> PauseResponse:
        """Pauses or resumes these destinations; takes effect once an agent runs."""
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

    def silences(self) -> SilenceListResponse:
        """Returns the active silences, the next to expire first."""
        return silences.list_active(self._store, self._clock.now())

    def add_silence(
        self, matchers: Mapping[str, str], *, expires_at: datetime, owner: str, reason: str
    ) -> SilenceResponse:
        """Adds a silence that begins now."""
        now = self._clock.now()
        silence = silences.new_silence(matchers, expires_at=expires_at, owner=owner, reason=reason, now=now)
        return silences.add(self._store, silence)

    def end_silences(self, silence_ids: Sequence[str]) -> SilenceListResponse:
        """Ends these silences; the next agent sends the held notifications."""
        return silences.end(self._store, silence_ids, self._clock.now())

    def episodes(self, *, with_ended: bool) -> EpisodeListResponse:
        """Returns the open episodes, the oldest first; then the last ended ones if wanted.

        Reads the whole config, with its plugins: it has the times of the next actions.
        """
        explainer, trouble = explainer_of(self._config)
        policy = None if explainer is None else explainer.policy
        found = list_episodes(self._store, policy, with_ended=with_ended)
        return found.model_copy(update={"trouble": trouble})

    def end_episodes(self, references: Sequence[str]) -> EpisodeEndResponse:
        """Ends these episodes; the next agent tells those who were told of the trouble.

        Reads the whole config, with its plugins. Raises ConfigError if it is wrong.
        """
        loaded = load(self._config)
        policy, now = StagePolicy.of(loaded.config), self._clock.now()
        return end(self._store, references, policy, loaded.router, now).response

    def acknowledge(self, references: Sequence[str], by: str) -> AcknowledgementResponse:
        """Ends reminders and escalation of these episodes."""
        return acknowledge(self._store, references, by, None, self._clock.now())

    def snooze(self, wanted: Snooze) -> SilenceResponse:
        """Silences the subject of an episode."""
        return snooze(self._store, wanted, self._clock.now())

    def explain(self, reference: str) -> ExplanationResponse:
        """Returns the fate of the events that ``reference`` names. Reads the whole config, with its plugins."""
        return explain_reference(self._store, reference, self._config)

    def _change(self, name: str, step: Callable[[Gate], Gate]) -> bool:
        # A shared store has a gate for each variant (hash of settings); a new variant copies a pause from them.
        variants = self._store.gates.variants(name) or [""]
        changed = [variant for variant in variants if self._change_variant(name, variant, step)]
        return bool(changed)

    def _change_variant(self, name: str, variant: str, step: Callable[[Gate], Gate]) -> bool:
        stored = self._store.gates.read(name, variant, lock=True)
        before = Gate() if stored is None else from_row(stored, 0.0, self._clock.now())
        after = date_trouble(step(before), self._clock.now())
        if after != before:
            row = to_row(after, 0.0, self._clock.now())
            row_to_store = replace(row, address_hash=stored.address_hash if stored else None)
            self._store.gates.write(name, row_to_store, variant)
        return after != before

    def _gate(self, name: str) -> Gate:
        """Returns a gate that holds the destination back under any of its settings, if there is one."""
        rows = [self._store.gates.read(name, variant) for variant in self._store.gates.variants(name)]
        stored_gates = [from_row(row, 0.0, self._clock.now()) for row in rows if row is not None]
        return min(stored_gates, key=lambda gate: (gate.is_flowing, gate.is_well), default=Gate())


def _untouched(name: str) -> DestinationResponse:
    """The response for a destination without a queue that nothing has held back."""
    return DestinationResponse(name=name, state=None, queued=0, oldest=None)


def _destination(
    name: str, gate: Gate, queue: QueueStats | None, now: datetime, *, configured: bool
) -> DestinationResponse:
    return DestinationResponse(
        name=name,
        state=(None if gate.is_flowing else gate.label) if configured else NOT_CONFIGURED,
        queued=queue.queued if queue else 0,
        oldest=queue.oldest if queue else None,
        last_error=gate.last_error,
        retry_at=gate.retry_time(0.0, now),
        since=gate.since,
    )
