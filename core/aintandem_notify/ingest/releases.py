"""The times at which the stages release held notifications, and the transactions in which they do."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import trio

from aintandem_notify.domain.notification import Notification
from aintandem_notify.errors import StatementFailed, StoreError
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.ingest.plan import EventRouter, Signal
from aintandem_notify.ingest.silence_ends import announce_end, due_words, next_word
from aintandem_notify.ingest.staging import Fired, Staging
from aintandem_notify.ingest.watching.engine import Watching
from aintandem_notify.log import get_logger
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.stages.silences import Silence
from aintandem_notify.stages.trouble import TROUBLE_TYPES
from aintandem_notify.store import JournalChanges, Storage, Store

LOOK_EVERY_S: Final = 60.0
"""Seconds after which the clock is looked at again while something will be due: it may have been set."""

SHARED_LOOK_EVERY_S: Final = 1.0
"""The same in a shared store, where another agent may have added a silence, or died with holds that are due."""

POSTPONED: Final = timedelta(minutes=5)
"""The pause before a hold is tried again that could not be released in any way."""

_log: Final = get_logger(__name__)


class HeldReleases:
    """Releases held notifications, and announces the ends of silences.

    ``use`` replaces the rules; after a change of the silences call ``look_again``.

    Nothing is released before ``begin``: until then nobody knows whether projects are caught up.
    ``shared_look_every_s``: as ``SHARED_LOOK_EVERY_S``.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        router: EventRouter,
        shared_look_every_s: float = SHARED_LOOK_EVERY_S,
    ) -> None:
        self.policy: StagePolicy = StagePolicy()
        self.watching: Watching = Watching()
        self._router = router
        self._storage = storage
        self._clock = clock
        self._shared_look_every_s = shared_look_every_s
        self._is_caught_up: Callable[[str], bool] | None = None
        self._begun_at = clock.now()
        self._silences: Sequence[Silence] = ()
        self._next_due: datetime | None = None
        self._look_at = -math.inf  # in trio's time
        self._has_new_config = True
        self._logged: set[str] = set()

    def begin(self, is_caught_up: Callable[[str], bool]) -> None:
        """Release from now on; ``is_caught_up``: no event of the project is missing."""
        self._is_caught_up = is_caught_up
        self._begun_at = self._clock.now()

    def use(self, policy: StagePolicy, router: EventRouter) -> None:
        """Apply these rules from the next transaction on, also to held notifications."""
        self.policy, self._router = policy, router
        self._has_new_config = True
        self.look_again()

    def look_again(self) -> None:
        """Note that the silences have changed: held notifications may be due now."""
        self._look_at = -math.inf

    def seconds_to_next(self) -> float:
        """Seconds until something may be due; infinite if nothing is held."""
        if self._is_caught_up is None:
            return math.inf
        pause = self.watching.seconds_to_next(self._clock.now(), self._is_caught_up)
        pause = min(pause, self._seconds_to_release())
        # After a change of the clock it is late by a sixtieth of the time at the most.
        return max(0.0, min(pause, max(LOOK_EVERY_S, pause / 60)))

    def _seconds_to_release(self) -> float:
        pause = self._look_at - trio.current_time()
        if self._next_due is not None:
            pause = min(pause, (self._next_due - self._clock.now()).total_seconds())
        return pause

    async def release(self) -> set[str]:
        """Release all that is due; returns the destinations with new deliveries. Raises StoreError."""
        destinations: set[str] = set()
        while self.seconds_to_next() <= 0:
            now = self._clock.now()
            destinations |= await self._look_at_watches(now)
            if self._seconds_to_release() > 0:
                continue
            destinations |= (await self._fire(now)).destinations
            destinations |= await self._announce_ends(now)
            self._set_timer()
        return destinations

    async def _look_at_watches(self, now: datetime) -> set[str]:
        """Look at the runs whose timers are due; a look that fails is tried again later. Raises StoreError."""
        if self.watching.seconds_to_next(now, self._is_known_caught_up) > 0:
            return set()
        try:
            return await self._storage.run(lambda store: self._look(store, now))
        except Exception as error:  # a watch that fails must not keep anything else from people
            self.watching.start_again()
            if is_store_failure(error):
                raise
            self._log_once("the runs of a watch cannot be looked at, and are later", error)
        await self._storage.run(lambda store: self._postpone_looks(store, now))
        return set()

    def _look(self, store: Store, now: datetime) -> set[str]:
        with store.transaction():
            now = store.membership.now(now)
            self._silences = store.silences.active(now, lock=True)
            staging = self._staging(store, now)
            destinations = self.watching.look(store, self._router, staging, now, self._is_known_caught_up)
            self._next_due = self._next(store, now)
        return destinations

    def _postpone_looks(self, store: Store, now: datetime) -> None:
        with store.transaction():
            self.watching.postpone(store, now, now + POSTPONED)

    def _is_known_caught_up(self, project_id: str) -> bool:
        return self._is_caught_up is not None and self._is_caught_up(project_id)

    async def _fire(self, now: datetime) -> Fired:
        """Release due holds; one whose stages fail is sent without them. Raises StoreError."""
        try:
            if self._has_new_config:
                await self._storage.run_again(lambda store: self._ask_again(store, now))
            return await self._storage.run_again(lambda store: self._transact(store, now, Staging.fire))
        except Exception as error:  # a stage that fails must not keep anything from people
            if is_store_failure(error):
                raise
            self._log_once("the stages of a rule have failed, its notifications are sent at once", error)
        try:
            return await self._storage.run_again(lambda store: self._transact(store, now, Staging.fire_plainly))
        except Exception as error:  # nothing more can be left out
            if is_store_failure(error):
                raise
            self._log_once("held notifications cannot be sent and stay held", error)
        self._next_due = now + POSTPONED
        return Fired()

    async def _announce_ends(self, now: datetime) -> set[str]:
        """Tell people of silences that end soon. Raises StoreError."""
        destinations: set[str] = set()
        for silence in due_words(self._silences, now):
            try:
                destinations |= await self._storage.run_again(
                    partial(self._announce_end, silence=silence, now=now)
                )
            except Exception as error:  # the silence ends all the same, and is told then
                if is_store_failure(error):
                    raise
                self._log_once("the end of a silence cannot be announced", error)
        return destinations

    def _announce_end(self, store: Store, silence: Silence, now: datetime) -> set[str]:
        with store.transaction():
            destinations = announce_end(store, silence, self._router.route, store.membership.now(now))
            self._silences = store.silences.active(store.membership.now(now))
        return destinations

    def _log_once(self, message: str, error: Exception) -> None:
        if (kind := f"{message} {type(error).__name__}") not in self._logged:
            self._logged.add(kind)
            _log.error(message, error=type(error).__name__, exc_info=error)

    def _set_timer(self) -> None:
        is_shared = self._storage.membership.is_shared
        self._look_at = trio.current_time() + self._shared_look_every_s if is_shared else math.inf

    def _transact(self, store: Store, now: datetime, fire: Callable[[Staging], Fired]) -> Fired:
        with store.transaction():
            now = store.membership.now(now)
            self._silences = store.silences.active(now, lock=True)
            fired = fire(self._staging(store, now))
            self._next_due = now if fired.more else self._next(store, now)
        return fired

    def _ask_again(self, store: Store, now: datetime) -> None:
        """Make everything due that the new config does not hold any more."""
        with store.transaction():
            now = store.membership.now(now)
            store.held.make_due_if(self.policy.is_obsolete, now)
            if store.traces.note_rules(self.policy.config_hash, now):
                store.episodes.reset_times(self.policy.rules_with_timers, self.policy.expire_s, now)
        self._has_new_config = False

    def admit(self, store: Store, changes: JournalChanges, signals: Sequence[Signal], now: datetime) -> set[str]:
        """Let the stages hold or drop new notifications; the others stay in ``changes``. In a transaction.

        Adds those about the ends of episodes. Returns the destinations of all that stay.
        """
        if not signals and not self._concerns_stages(changes.notifications):
            return {name for _, names in changes.notifications for name in names}
        now = store.membership.now(now)
        if self._silences:  # one that has ended meanwhile must not hold anything until its former end
            self._silences = store.silences.active(now, lock=True)
        staging = self._staging(store, now)
        changes.notifications[:] = staging.admit(changes.notifications, signals=signals)
        times = (self._next_due, staging.next_due, next_word(self._silences, now))
        self._next_due = min((moment for moment in times if moment is not None), default=None)
        return {name for _, names in changes.notifications for name in names}

    def _concerns_stages(self, notifications: Sequence[tuple[Notification, Sequence[str]]]) -> bool:
        if not self.policy.is_empty or self._silences:
            return bool(notifications)
        return any(notification.event.type in TROUBLE_TYPES for notification, _ in notifications)

    def _next(self, store: Store, now: datetime) -> datetime | None:
        times = (store.held.next_due(), store.episodes.next_due(), next_word(self._silences, now))
        return min((moment for moment in times if moment is not None), default=None)

    def _staging(self, store: Store, now: datetime) -> Staging:
        return Staging(
            store,
            self.policy,
            self._silences,
            now,
            router=self._router,
            is_caught_up=self._is_caught_up or (lambda _project_id: False),
            begun_at=self._begun_at,
        )


def is_store_failure(error: Exception) -> bool:
    """True if the store as a whole fails, and not one event."""
    return isinstance(error, StoreError) and not isinstance(error, StatementFailed)
