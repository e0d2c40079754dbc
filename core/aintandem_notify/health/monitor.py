"""Watches the agent's health: logs and notifies of each begin and end, and gives the answer to all who show it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Never

import trio

from aintandem_notify import log
from aintandem_notify.config import HealthConfig
from aintandem_notify.delivery.gate import GateState
from aintandem_notify.domain.events import AgentEvent, DestinationRecoveredEvent, Event
from aintandem_notify.domain.health import Health, Reason, ReasonId
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.health.conditions import Facts, find_conditions, listed_names
from aintandem_notify.health.episodes import Changes, Episode, EpisodeBook, Evidence, health_of, recovery
from aintandem_notify.orchestrator import ConnectionState
from aintandem_notify.plugins import InstanceState
from aintandem_notify.store import GivenUp, QueueStats, Storage, Store, TransactionPurpose
from aintandem_notify.store.liveness import STUCK_AFTER_S

CHECK_INTERVAL_S: Final = 2.0
"""Seconds between two checks. The answer of ``HealthMonitor.health`` is always that of the present moment."""

LOOK_INTERVAL_S: Final = 5.0
"""Seconds between two looks in the store for notifications that wait or were given up."""

GIVEN_UP_SHOWN: Final = timedelta(hours=1)
"""The time for which the agent is degraded after a message was given up. A retry by hand ends it earlier."""

_BROKEN_STATES: Final = frozenset({InstanceState.FAILED, InstanceState.RETRYING})
"""States in which a destination's plugin cannot be called."""

FAULT_PAUSE_S: Final = 60.0
"""Seconds before the next check after a fault of ours, which is logged with its traceback."""

_log = log.get_logger("health")

Commit = Callable[[None, Sequence[Event]], Awaitable[None]]
"""Stores events of the agent. Raises StoreError."""
Recipients = Callable[[AgentEvent], Sequence[str]]
"""Returns the destinations that the rules choose for an event."""


class HealthMonitor:
    """The health of the running agent. Made by ``open_monitor``."""

    def __init__(
        self,
        facts: Callable[[], Facts],
        settings: Callable[[], HealthConfig],
        *,
        storage: Storage,
        agent_name: str,
        commit: Commit,
        recipients: Recipients,
        clock: Clock,
        check_interval_s: float = CHECK_INTERVAL_S,
        look_interval_s: float = LOOK_INTERVAL_S,
    ) -> None:
        self._facts = facts
        self._settings = settings
        self._storage = storage
        self._agent_name = agent_name
        self._commit = commit
        self._recipients = recipients
        self._clock = clock
        self._check_interval_s, self._look_interval_s = check_interval_s, look_interval_s
        self._book = EpisodeBook()
        self._stored = self._book.milestones()
        self._is_restored = False
        self._made_s = self._noted_s = trio.current_time()
        self._was_ready = False
        self._waits_for_store = True
        """Until the store has answered, or has had time to, changes wait: it has the trouble before a restart."""
        self._queues: Mapping[str, QueueStats] = {}
        self._given_up: Mapping[str, GivenUp] = {}
        self._next_look_s = 0.0

    def health(self) -> Health:
        """Returns the health at this moment. Reads memory only, so that it answers while the store hangs."""
        facts, settings, now = self._current_facts(), self._settings(), self._clock.now()
        conditions = find_conditions(facts, now, settings.after)
        reasons = self._book.reasons(conditions, now, trio.current_time())
        evidence = self._evidence(facts, settings)
        reasons += self._book.carried(conditions, evidence)
        if evidence.is_starting:
            reasons.append(_starting_reason(facts))
        return health_of(reasons, settings.unready)

    def _current_facts(self) -> Facts:
        return replace(self._facts(), queues=self._queues, given_up=self._given_up)

    def _evidence(self, facts: Facts, settings: HealthConfig) -> Evidence:
        if not self._was_ready:
            age_s = trio.current_time() - self._made_s
            self._was_ready = age_s >= settings.after or _is_connected(facts)
        projects = {status.project.id for status in facts.projects}
        return Evidence(not self._was_ready, facts.discovery.has_listed, projects)

    def note_announced(self, event: AgentEvent) -> None:
        """Records an event that is announced for another reason, so that its recipients learn of the end."""
        self._book.note_announced(event, reaches_somebody=bool(self._recipients(event)))

    async def check_forever(self) -> Never:
        """Checks at intervals. A store in trouble delays only the notices, also one that does not answer."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_repeat, self._note_changes_beside, self._check_interval_s)
            await _repeat(self.check, self._check_interval_s)

    async def _note_changes_beside(self) -> None:
        """Notes the changes while ``check`` hangs, because the store does not answer."""
        now_s = trio.current_time()
        may_begin = not self._waits_for_store or now_s - self._made_s > STUCK_AFTER_S
        if may_begin and now_s - self._noted_s >= 2 * self._check_interval_s:
            self._note_changes()
        await trio.lowlevel.checkpoint()

    async def check(self) -> None:
        """Logs and notifies of all changes since the last check."""
        try:
            await self._restore()
            await self._look_at_deliveries(self._clock.now())
            self._note_changes()
            await self._save()
            await self._notify_of_begins()
            await self._notify_of_ends()
            await self._save()
        except StoreError as error:
            self._waits_for_store = False
            _log.debug("health could not be stored", reason=str(error))

    def _note_changes(self) -> None:
        """Notes the begins and the ends, and logs them."""
        facts, settings, now = self._current_facts(), self._settings(), self._clock.now()
        self._noted_s = trio.current_time()
        conditions = find_conditions(facts, now, settings.after)
        evidence = self._evidence(facts, settings)
        _log_changes(self._book.update(conditions, now, trio.current_time(), evidence), settings)

    async def _restore(self) -> None:
        if not self._is_restored:
            self._book.restore(await self._storage.run(self._read))
            self._stored = self._book.milestones()
            self._is_restored, self._waits_for_store = True, False

    async def _look_at_deliveries(self, now: datetime) -> None:
        if trio.current_time() >= self._next_look_s:
            self._next_look_s = trio.current_time() + self._look_interval_s
            look = partial(_look_at_deliveries, since=now - GIVEN_UP_SHOWN)
            self._queues, self._given_up = await self._storage.run(look)

    def _read(self, store: Store) -> str | None:
        with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
            return store.health_episodes.read(self._agent_name)

    async def _save(self) -> None:
        milestones = self._book.milestones()
        if milestones == self._stored:
            return
        text = self._book.to_json()

        def write(store: Store) -> None:
            with store.transaction():
                store.health_episodes.write(self._agent_name, text)

        await self._storage.run(write)
        self._stored = milestones

    async def _notify_of_begins(self) -> None:
        settings, now_s, excluded = self._settings(), trio.current_time(), _not_working(self._facts())
        for event in self._book.due_notices(now_s, excluded=excluded, unready=settings.unready):
            if self._recipients(event):
                self._book.assign_notice(event)
                try:
                    await self._commit(None, [event])
                except StoreError:
                    self._book.withdraw_notice(event)
                    raise
                self._book.record_notice(event, now_s, settings.after)

    async def _notify_of_ends(self) -> None:
        settings = self._settings()
        for notice, episodes in self._book.due_ends(self._clock.now(), settings.after).items():
            notified = await self._storage.run(partial(_notified, event_key=notice))
            has_own_event = self._recipients_of_own_end(episodes)
            event = recovery(episodes, [name for name in notified if name not in has_own_event])
            if self._recipients(event):
                await self._commit(None, [event])
            self._book.record_end(episodes, settings.after)

    def _recipients_of_own_end(self, episodes: Sequence[Episode]) -> set[str]:
        """Returns the destinations that rules send ``destination_recovered``, which says the same."""
        now = self._clock.now()
        ends = [
            DestinationRecoveredEvent(timestamp=now, instance=episode.condition.subject or "")
            for episode in episodes
            if episode.condition.announced_as == "destination_parked"
        ]
        return {name for event in ends for name in self._recipients(event)}


async def _repeat(step: Callable[[], Awaitable[None]], interval_s: float) -> Never:
    while True:
        try:
            await step()
            pause_s = interval_s
        except Exception:  # noqa: BLE001  # a fault of ours here must not end the agent
            _log.exception("the health could not be checked, trying again later")
            pause_s = FAULT_PAUSE_S
        await trio.sleep(pause_s)


@asynccontextmanager
async def open_monitor(monitor: HealthMonitor) -> AsyncIterator[HealthMonitor]:
    """Checks at intervals within the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(monitor.check_forever)
        yield monitor
        nursery.cancel_scope.cancel()


def _look_at_deliveries(store: Store, since: datetime) -> tuple[Mapping[str, QueueStats], Mapping[str, GivenUp]]:
    """Returns by destination the queues, and the deliveries that were given up at ``since`` or later."""
    with store.transaction(purpose=TransactionPurpose.READ):
        return store.outbox.queues(), store.delivery_queries.given_up_since(since)


def _notified(store: Store, event_key: str) -> tuple[str, ...]:
    with store.transaction(purpose=TransactionPurpose.READ):
        return store.health_episodes.notified(event_key)


def _not_working(facts: Facts) -> list[str]:
    """Returns the destinations that could not pass on a notice now."""
    closed = {destination.name for destination in facts.destinations if destination.label != GateState.OPEN}
    broken = {plugin.name for plugin in facts.plugins if plugin.state in _BROKEN_STATES}
    return [destination.name for destination in facts.destinations if destination.name in closed | broken]


def _is_connected(facts: Facts) -> bool:
    """True if every project that this agent has to watch has been connected, or is gone."""
    if not facts.projects:
        return bool(facts.wanted) or facts.discovery.has_listed
    return all(status.was_connected or status.gone for status in facts.projects)


def _starting_reason(facts: Facts) -> Reason:
    waiting = sum(status.state is not ConnectionState.CONNECTED for status in facts.projects)
    text = f"{waiting} of {len(facts.projects)} projects are not connected yet"
    return Reason(ReasonId.STARTING, text if facts.projects else "no project is known yet", facts.started_at)


def _log_changes(changes: Changes, settings: HealthConfig) -> None:
    for kind, reasons in _by_kind(changes.began).items():
        state = "failing" if kind in settings.unready else "degraded"
        facts = {"kind": kind.value, "reason": _joined(reasons), "since": reasons[0].since.isoformat()}
        _log.warning("the agent is not well", state=state, **facts)
    for kind, reasons in _by_kind([episode.reason for episode in changes.ended]).items():
        _log.info("trouble is over", kind=kind.value, reason=_joined(reasons), since=reasons[0].since.isoformat())


def _by_kind(reasons: Sequence[Reason]) -> dict[ReasonId, list[Reason]]:
    kinds: dict[ReasonId, list[Reason]] = {}
    for reason in reasons:
        kinds.setdefault(reason.id, []).append(reason)
    return kinds


def _joined(reasons: Sequence[Reason]) -> str:
    return listed_names([reason.text for reason in reasons])
