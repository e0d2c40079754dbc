"""Applies the stages of the rules inside one transaction of the store.

``admit`` asks them about new notifications, ``fire`` releases due holds. The decisions are those of ``stages``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from aintandem_notify.domain.notification import Notification
from aintandem_notify.ingest.admitting import Admitting
from aintandem_notify.ingest.episode_keeping import NOT_A_CHANGE, EpisodeKeeper, Taken
from aintandem_notify.ingest.episode_timers import EpisodeTimers
from aintandem_notify.ingest.plan import EventRouter, Signal
from aintandem_notify.stages.pipeline import Deliver, Drop, Hold, Outcome, Stage, StagePolicy, Unit
from aintandem_notify.stages.silences import Silence
from aintandem_notify.stages.summaries import MAX_TITLES_READ, summary_notification
from aintandem_notify.stages.trouble import number_of_run
from aintandem_notify.store import JournalChanges, Store
from aintandem_notify.store.stages.contents import RulePart
from aintandem_notify.store.stages.held import DueHold, HeldNotification, Selection, parts_of

MAX_RELEASED: Final = 1000
"""Notifications that are released one by one in a transaction; the others follow in the next one."""

CATCH_UP_GRACE: Final = timedelta(minutes=10)
"""The time for which a failure goes on settling if its project is not caught up: a retry may be unknown.

It counts from the start of the agent, if that is later.
"""

OVER_MEANWHILE: Final = "it was over before it was told"
"""The reason for which trouble that waited for its cause is never told."""

_ASK_EVERY_S: Final = 5
"""A divisor of 60."""


@dataclass(slots=True)
class Fired:
    """The effect of ``Staging.fire``: the destinations with new deliveries, and whether more may be due."""

    destinations: set[str] = field(default_factory=set)
    more: bool = False


class Staging:
    """The stages of a config and the active silences, in one transaction of ``store``.

    ``router`` has the rules and the words about episodes. ``is_caught_up``: no event of the project is missing.
    The agent releases since ``begun_at``.
    """

    def __init__(
        self,
        store: Store,
        policy: StagePolicy,
        silences: Sequence[Silence],
        now: datetime,
        *,
        router: EventRouter,
        is_caught_up: Callable[[str], bool],
        begun_at: datetime,
    ) -> None:
        self._store = store
        self._held = store.held
        self._policy = policy
        self._silences = silences
        self._now = now
        self._keeper = EpisodeKeeper(store, policy, router, now)
        self._admitting = Admitting(store, policy, silences, self._keeper, now)
        self._is_caught_up = is_caught_up
        self._begun_at = begun_at
        self._timers = EpisodeTimers(store, policy, router, self._admitting, self._postponed_until, now)
        self._locked: set[str] = set()

    def admit(
        self,
        notifications: Sequence[tuple[Notification, Sequence[str]]],
        at: datetime | None = None,
        signals: Sequence[Signal] = (),
    ) -> list[tuple[Notification, Sequence[str]]]:
        """As ``Admitting.admit``, for new notifications and the signals between them; by default as of now."""
        self._lock_first(notifications, signals)
        return self._admitting.admit(self._keeper.follow(notifications, signals), at or self._now)

    @property
    def next_due(self) -> datetime | None:
        """The first of the times that ``admit`` has set; None if it has set none."""
        return min(filter(None, (self._admitting.next_due, self._keeper.next_due)), default=None)

    def _lock_first(
        self, notifications: Sequence[tuple[Notification, Sequence[str]]], signals: Sequence[Signal]
    ) -> None:
        """Lock the destinations of the windows before any episode: a release does so in this order."""
        if self._store.stage_locks.is_shared:
            names = {
                name for about, names in notifications if self._policy.has_windows(about.rule) for name in names
            }
            self._store.stage_locks.wait_for(names | self._keeper.likely_recipients(notifications, signals))

    def fire(self, until: datetime | None = None) -> Fired:
        """Release the due holds of each destination, the first first, each as of its due time.

        Only those due by ``until``.
        """
        limit = until or self._now
        fired, budget = Fired(), MAX_RELEASED
        others: set[str] = set()
        while budget > 0:
            due = next((hold for hold in self._held.due(limit) if hold.id.destination not in others), None)
            timer_at = self._store.episodes.next_due()
            if timer_at is not None and timer_at <= (limit if due is None else min(due.due_at, limit)):
                fired.more = True
                if not self._locked:  # or it comes in the next transaction: its words may go to any destination
                    fired.destinations |= self._timers.fire(limit if due is None else due.due_at)
                return fired
            if due is None:
                fired.more = bool(others)
                return fired
            if self._lock(due.id.destination):
                budget -= 1 + self._release(due, fired)
            else:
                others.add(due.id.destination)  # the next transaction waits for it
        fired.more = True
        return fired

    def read_next_due(self) -> datetime | None:
        """The time at which the next hold or episode of the store is due; None if none is."""
        times = (self._held.next_due(), self._store.episodes.next_due())
        return min((moment for moment in times if moment is not None), default=None)

    def _lock(self, destination: str) -> bool:
        """True if the destination is locked. Only for the first one it waits: who has locked one must not wait."""
        if not self._locked:
            self._store.stage_locks.wait_for([destination])
        elif destination not in self._locked and not self._store.stage_locks.take(destination):
            return False
        self._locked.add(destination)
        return True

    def fire_plainly(self) -> Fired:
        """Send the notifications of the first due hold one by one, without asking any stage."""
        fired = Fired(more=True)
        due = next(iter(self._held.due(self._now)), None)
        if due is None:
            return Fired()
        self._lock(due.id.destination)
        self._queue_singles(due, self._held.rows(Selection(due), limit=MAX_RELEASED), fired)
        return fired

    def _release(self, due: DueHold, fired: Fired) -> int:
        """Release a hold, or a part of it; returns the number of notifications looked at one by one."""
        match due.id.stage:
            case Stage.SETTLE:
                return self._release_settled(due._replace(due_at=self._now), fired)
            case Stage.SILENCES | Stage.HELD_BACK_BY:
                return self._hold_again(due) + self._release_held_back(due, fired)
            case Stage.QUIET if self._policy.is_digest(due.id.key):
                return self._release_digest(due, fired)
            case Stage.QUIET:
                return self._release_each(due, fired)
            case _:
                compared = self._hold_again(due)
                self._release_together(due, fired)
                return compared

    def _hold_again(self, due: DueHold, **part: Any) -> int:
        """Ask silences and causes anew about the hold, or a ``part`` of it; returns how many were compared."""
        if not self._admitting.may_hold_back:
            return 0
        compared, after_id = 0, 0
        while rows := self._held.rows(Selection(due, **part), after_id=after_id, limit=MAX_RELEASED):
            self._hold_rows(due, rows)
            compared += len(rows)
            after_id = rows[-1].id
        return compared

    def _hold_rows(self, due: DueHold, rows: Sequence[HeldNotification]) -> list[HeldNotification]:
        """Move those that a silence or a cause holds; returns the others."""
        moved: dict[Hold, list[int]] = {}
        others: list[HeldNotification] = []
        for row in rows:
            hold = None if row.is_end else self._admitting.held_back(row.facts, row.held_at)
            if hold is None:
                others.append(row)
            else:
                moved.setdefault(hold, []).append(row.id)
        for hold, ids in moved.items():
            # Who has passed ``once_per`` is the one for its value, and would not pass again.
            self._held.move(Selection(due, ids=ids), hold, has_passed_values=due.id.stage > Stage.HELD_BACK_BY)
        return others

    def _release_settled(self, due: DueHold, fired: Fired) -> int:
        """Release failures in the order of their times, up to the time at which anything else is due."""
        limit_at = min(self._now, self._held.next_due_besides(due) or self._now)
        rows = self._held.first_due_rows(due, limit_at, limit=MAX_RELEASED)
        if not rows:
            return 0  # another agent has just done it
        settle_s = self._policy.stages(rows[0].facts.rule).settle
        retried = {} if settle_s is None else self._held.later_attempts([row.id for row in rows], settle_s)
        units = [_unit_of(row) for row in rows]
        windows = self._admitting.windows(units)
        opened = dict(windows)
        decided: dict[Outcome, list[HeldNotification]] = {}
        rerouted: Sequence[tuple[Notification, Sequence[str]]] = ()
        for row, unit in zip(rows, units, strict=True):
            if row.due_at > limit_at or rerouted:
                break
            at = row.due_at
            if settle_s is not None and self._may_be_retried(row, settle_s):
                outcome: Outcome = Hold(Stage.SETTLE, due.id.key, _ask_again_at(self._now))
            elif (reason := self._retry_of(row, retried, settle_s)) is not None:
                outcome = Drop(Stage.SETTLE, reason)
                rerouted, rerouted_at = self._behind(row), at
            elif not (taken := self._take(row)).takes:
                outcome = Drop(Stage.ON, NOT_A_CHANGE)
                rerouted, rerouted_at = self._behind(row), at
            else:
                if taken.episode is not None:
                    self._held.set_episode([row.id], taken.episode)
                outcome = self._admitting.decide(unit, row.facts, at, windows)
            if isinstance(outcome, Hold):
                limit_at = min(limit_at, outcome.until)
            decided.setdefault(outcome, []).append(row)
        self._admitting.store_windows(windows, opened)
        self._keeper.flush()
        self._carry_out(decided, due, fired)
        if rerouted:
            fired.destinations |= self._admitting.queue(self._keeper.follow_behind(rerouted), rerouted_at)
        return len(rows)

    def _may_be_retried(self, row: HeldNotification, settle_s: float) -> bool:
        """True while a retry may be unknown because the project is not caught up."""
        settled_at = min(row.due_at, row.occurred_at + timedelta(seconds=settle_s))
        return self._postponed_until(row.facts.project_id, settled_at) is not None

    def _postponed_until(self, project_id: str, due_at: datetime) -> datetime | None:
        """The time for which a decision waits that was due, because the project is not caught up; None: now."""
        patience_ends = max(due_at, self._begun_at) + CATCH_UP_GRACE
        is_unknown = not self._is_caught_up(project_id) and self._now < patience_ends
        return _ask_again_at(self._now) if is_unknown else None

    def _retry_of(
        self, row: HeldNotification, later_attempts: Mapping[int, int], settle_s: float | None
    ) -> str | None:
        """The reason for which a failure does not count; None if it does."""
        if row.id in later_attempts:
            return f"attempt {later_attempts[row.id]} began within the time to settle"
        if settle_s is None or row.trouble is None:
            return None
        until = min(row.due_at, row.occurred_at + timedelta(seconds=settle_s))
        if self._store.episodes.begins_again(row.trouble, row.occurred_at, until):
            return "a new run of the subject began within the time to settle"
        return None

    def _take(self, row: HeldNotification) -> Taken:
        facts = row.facts
        return self._keeper.take_held(row, number_of_run(facts.project_id, facts.family, facts.run_id))

    def _behind(self, row: HeldNotification) -> Sequence[tuple[Notification, Sequence[str]]]:
        """The notifications of the rules that waited for a failure that does not count."""
        notification = self._store.outbox.read_notification(row.notification_id)
        return () if notification is None else self._keeper.behind(notification, [row.facts.destination])

    def _release_held_back(self, due: DueHold, fired: Fired) -> int:
        """Send all as one, except those that ``once_per`` or a group keep for themselves.

        Behind a cause, only that which is still open is told.
        """
        if due.id.stage is Stage.HELD_BACK_BY:
            over = self._held.ids_over(Selection(due))
            if over:
                self._held.drop(Selection(due, ids=over), Drop(Stage.HELD_BACK_BY, OVER_MEANWHILE), self._now)
        rows = self._held.rows(Selection(due, with_values=True), limit=MAX_RELEASED)
        if rows:
            self._ask_values(due, rows)
        if len(rows) == MAX_RELEASED:
            return len(rows)  # there may be more
        parts = self._held.parts(Selection(due))
        if len(parts) == 1:
            self._release_together(due, fired, after=Stage.GROUP)
        elif not parts:
            return len(rows)
        elif told := self._ask_quiet(due, parts, as_one=True):
            self._queue_summary(due, fired, rules=told)
        return len(rows)

    def _ask_values(self, due: DueHold, rows: Sequence[HeldNotification]) -> None:
        units = [_unit_of(row) for row in rows]
        windows = self._admitting.windows(units)
        opened = dict(windows)
        decided: dict[Outcome, list[int]] = {}
        for row, unit in zip(rows, units, strict=True):
            decided.setdefault(self._policy.ask_values(unit, due.due_at, windows), []).append(row.id)
        self._admitting.store_windows(windows, opened)
        for outcome, ids in decided.items():
            if isinstance(outcome, Deliver):
                self._held.pass_values(Selection(due, ids=ids))
            else:
                self._apply(outcome, due, ids=ids)

    def _release_together(self, due: DueHold, fired: Fired, *, after: Stage | None = None) -> None:
        """Release a hold of one rule as one; ``after``: the last stage that is not asked."""
        selection = Selection(due)
        parts = self._held.parts(selection)
        if not parts:
            return
        rule, part = next(iter(parts.items()))
        unit = Unit(
            rule,
            due.id.destination,
            part.severities,
            group_value=self._held.group_value(selection) if due.id.stage is Stage.GROUP else None,
            held_since=part.held_since,
            is_end=part.has_end,
        )
        windows = self._admitting.windows([unit])
        opened = dict(windows)
        self._policy.reopen(due.id.stage, unit, due.due_at, windows)
        outcome = self._policy.proceed(unit, after or due.id.stage, due.due_at, self._now, windows)
        if not isinstance(outcome, Drop):  # or nobody was told, so the next one need not wait
            self._admitting.store_windows(windows, opened)
        if isinstance(outcome, Deliver):
            self._queue_summary(due, fired)
        else:
            self._apply(outcome, due, as_one=True)

    def _release_digest(self, due: DueHold, fired: Fired) -> int:
        told = self._ask_quiet(due, self._held.parts(Selection(due)))
        compared = self._hold_again(due, rules=told) if told else 0
        if told:
            self._queue_summary(due, fired, rules=told)
        return compared

    def _release_each(self, due: DueHold, fired: Fired) -> int:
        rows = self._held.rows(Selection(due), limit=MAX_RELEASED)
        told = self._ask_quiet(due, parts_of(rows))
        singles = [row for row in rows if row.facts.rule in told and row.bundle is None]
        self._queue_singles(due, self._hold_rows(due, singles), fired)
        for bundle in {row.bundle: None for row in rows if row.facts.rule in told and row.bundle is not None}:
            self._hold_again(due, rules=told, bundle=bundle)
            self._queue_summary(due, fired, rules=told, bundle=bundle)
        return len(rows)

    def _ask_quiet(self, due: DueHold, parts: Mapping[str, RulePart], *, as_one: bool = False) -> list[str]:
        """Hold or drop those whose quiet hours have not ended; returns the rules of the others."""
        decided: dict[Outcome, list[str]] = {}
        for rule, part in parts.items():
            unit = Unit(
                rule,
                due.id.destination,
                part.severities,
                held_since=part.held_since,
                is_end=part.has_end,
            )
            decided.setdefault(self._policy.ask_quiet(unit, self._now), []).append(rule)
        told = decided.pop(Deliver(), [])
        for outcome, rules in decided.items():
            self._apply(outcome, due, as_one=as_one, rules=rules)
        return told

    def _carry_out(
        self, decided: Mapping[Outcome, Sequence[HeldNotification]], due: DueHold, fired: Fired
    ) -> None:
        for outcome, rows in decided.items():
            if isinstance(outcome, Deliver):
                self._queue_singles(due, rows, fired)
            else:
                self._apply(outcome, due, ids=[row.id for row in rows])

    def _apply(self, outcome: Outcome, due: DueHold, *, as_one: bool = False, **part: Any) -> None:
        """Hold or drop all of a hold, or a ``part`` of it."""
        selection = Selection(due, **part)
        if isinstance(outcome, Hold):
            self._held.move(selection, outcome, as_one=as_one)
        elif isinstance(outcome, Drop):
            if outcome.stage is Stage.QUIET:  # nobody was told of these values
                units = [
                    Unit(rule, due.id.destination, frozenset(), once_value=value)
                    for rule, value in self._held.once_values(selection)
                ]
                self._store.stage_windows.forget([unit.window(Stage.ONCE_PER) for unit in units])
            self._held.drop(selection, outcome, self._now)

    def _queue_singles(self, due: DueHold, rows: Sequence[HeldNotification], fired: Fired) -> None:
        if rows:
            deliveries = [
                (row.notification_id, row.facts.destination, row.thread, row.facts.folding_severity)
                for row in rows
            ]
            self._store.journal.add_deliveries(deliveries, self._now)
            selection = Selection(due, ids=[row.id for row in rows])
            self._keeper.note_released(selection)
            self._held.mark_told(selection, self._now)
            fired.destinations.add(due.id.destination)

    def _queue_summary(
        self, due: DueHold, fired: Fired, *, rules: Sequence[str] | None = None, bundle: int | None = None
    ) -> None:
        """Tell all of a hold, or those of some rules or of a bundle of them, as one."""
        selection = self._held.bind(due, rules=rules, bundle=bundle)
        rows = self._held.rows(selection, limit=2)
        if len(rows) < 2:
            self._queue_singles(due, rows, fired)
            return
        changes = JournalChanges()
        summary = self._held.summarize(selection, max_titles=MAX_TITLES_READ)
        notification = summary_notification(summary, due.id.destination, due.id.stage, due.id.key, self._now)
        changes.events.append(notification.event)
        changes.notifications.append((notification, [due.id.destination]))
        self._store.journal.write(changes, self._now)
        self._keeper.note_released(selection, by=notification.id)
        self._held.mark_told(selection, self._now, by=notification.id)
        fired.destinations.add(due.id.destination)


def _unit_of(row: HeldNotification) -> Unit:
    facts = row.facts
    return Unit(
        facts.rule,
        facts.destination,
        frozenset({facts.severity}),
        once_value=row.once_value,
        group_value=row.group_value,
        held_since=row.held_at,
        is_end=row.is_end,
    )


def _ask_again_at(now: datetime) -> datetime:
    """The next full five seconds: the same for all failures that wait, so that one transaction asks for all."""
    return now.replace(microsecond=0) + timedelta(seconds=_ASK_EVERY_S - now.second % _ASK_EVERY_S)
