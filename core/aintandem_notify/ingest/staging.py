"""Applies the stages of the rules inside one transaction of the store.

``admit`` asks them about new notifications, ``fire`` releases due holds. The decisions are those of ``stages``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.runs import Run
from aintandem_notify.ingest.plan import PlannedNotification
from aintandem_notify.stages.facts import Facts
from aintandem_notify.stages.pipeline import Deliver, Drop, Hold, Outcome, Stage, StagePolicy, Unit, Windows
from aintandem_notify.stages.silences import Silence, silence_of
from aintandem_notify.stages.summaries import MAX_TITLES, summary_notification
from aintandem_notify.store import JournalChanges, Store
from aintandem_notify.store.stages.held import DueHold, HeldNotification, NewHold, Selection

MAX_RELEASED: Final = 1000
"""Notifications that are released one by one in a transaction; the others follow in the next one."""

CATCH_UP_GRACE: Final = timedelta(minutes=10)
"""The time for which a failure goes on settling if its project is not caught up: a retry may be unknown.

It counts from the start of the agent, if that is later.
"""

_ASK_AGAIN: Final = timedelta(seconds=5)

Reroute = Callable[[str, str, Event, Run | None, Project | None, datetime], Sequence[PlannedNotification]]
"""The notifications about an event of the rules behind one, for one destination, as ``Router.route_behind``."""


def no_reroute(*_arguments: object) -> Sequence[PlannedNotification]:
    """No later rule."""
    return ()


@dataclass(slots=True)
class Fired:
    """The effect of ``Staging.fire``: the destinations with new deliveries, and whether more is due already.

    ``others``: another agent on the store is releasing something that is due.
    """

    destinations: set[str] = field(default_factory=set)
    more: bool = False
    others: bool = False


class Staging:
    """The stages of a config and the active silences, in one transaction of ``store``.

    ``reroute`` asks the rules behind one. ``is_caught_up``: no event of the project is missing. The agent releases
    since ``begun_at``.
    """

    def __init__(
        self,
        store: Store,
        policy: StagePolicy,
        silences: Sequence[Silence],
        now: datetime,
        *,
        reroute: Reroute,
        is_caught_up: Callable[[str], bool],
        begun_at: datetime,
    ) -> None:
        self._store = store
        self._held = store.held
        self._policy = policy
        self._silences = silences
        self._now = now
        self._reroute = reroute
        self._is_caught_up = is_caught_up
        self._begun_at = begun_at

    def admit(
        self, notifications: Sequence[tuple[Notification, Sequence[str]]]
    ) -> list[tuple[Notification, Sequence[str]]]:
        """Ask the stages about new notifications; returns those to store, each with the destinations told now.

        Stores the held and the dropped ones itself.
        """
        admitted: list[tuple[Notification, Sequence[str]]] = []
        unit_of = self._policy.unit
        units = [[unit_of(notification, name) for name in names] for notification, names in notifications]
        windows = self._windows(unit for row in units for unit in row)
        opened = dict(windows)
        holds: list[NewHold] = []
        for (notification, _), row in zip(notifications, units, strict=True):
            admitted_names: list[str] = []
            is_held = False
            for unit in row:
                outcome = self._decide_first(unit, Facts.of(notification, unit.destination), windows)
                if isinstance(outcome, Deliver):
                    admitted_names.append(unit.destination)
                else:
                    holds.append(NewHold(notification, unit, outcome))
                    is_held = is_held or isinstance(outcome, Hold)
            if admitted_names or is_held:  # the text of a held one is stored, too
                admitted.append((notification, admitted_names))
        self._store_windows(windows, opened)
        self._held.add(holds, self._now, config_hash=self._policy.config_hash)
        return admitted

    def fire(self) -> Fired:
        """Release the due holds, the first first, each as of its due time."""
        fired, budget = Fired(), MAX_RELEASED
        locked_out: set[object] = set()
        while budget > 0:
            due = next((hold for hold in self._held.due(self._now) if hold.id not in locked_out), None)
            if due is None:
                fired.others = bool(locked_out)
                return fired
            if not self._held.lock(due):
                locked_out.add(due.id)
                continue
            budget -= self._release(due, fired)
        fired.more = True
        return fired

    def fire_plainly(self) -> Fired:
        """Send the notifications of the first due hold one by one, without asking any stage."""
        fired = Fired(more=True)
        due = next(iter(self._held.due(self._now)), None)
        if due is None or not self._held.lock(due):
            return Fired()
        ids = [row.id for row in self._held.rows(Selection(due), limit=MAX_RELEASED)]
        self._queue_singles(Selection(due, ids=ids), fired)
        return fired

    def _release(self, due: DueHold, fired: Fired) -> int:
        """Release a hold, or a part of it; returns the number of notifications looked at one by one."""
        work = 1 + self._silence_again(due)
        match due.id.stage:
            case Stage.SETTLE:
                return work + self._release_settled(due, fired)
            case Stage.SILENCES:
                return work + self._release_silenced(due, fired)
            case Stage.QUIET:
                return work + self._release_quiet(due, fired)
            case _:
                self._release_together(due, fired)
                return work

    def _silence_again(self, due: DueHold) -> int:
        """Move silenced notifications to their silence; returns the number of notifications that were compared."""
        if not self._silences or due.id.stage is Stage.SETTLE:
            return 0
        compared, after_id = 0, 0
        while rows := self._held.rows(Selection(due), after_id=after_id, limit=MAX_RELEASED):
            by_silence: dict[str, tuple[Silence, list[int]]] = {}
            for row in rows:
                if (silence := silence_of(row.facts, self._silences, self._now)) is not None:
                    by_silence.setdefault(silence.id, (silence, []))[1].append(row.id)
            for silence, ids in by_silence.values():
                hold = Hold(Stage.SILENCES, silence.id, silence.expires_at)
                self._held.move(Selection(due, ids=ids), hold)
            compared += len(rows)
            after_id = rows[-1].id
        return compared

    def _release_settled(self, due: DueHold, fired: Fired) -> int:
        rows = self._held.rows(Selection(due), limit=MAX_RELEASED)
        for row in rows:
            selection = Selection(due, ids=[row.id])
            until = self._policy.settled_at(row.facts.rule, row.occurred_at) or due.due_at
            patience_ends = max(until, self._begun_at) + CATCH_UP_GRACE
            if not self._is_caught_up(row.facts.project_id) and self._now < patience_ends:
                self._held.move(selection, Hold(Stage.SETTLE, due.id.key, self._now + _ASK_AGAIN))
            elif (attempt := self._held.later_attempt(row, begun_until=until)) is not None:
                drop = Drop(Stage.SETTLE, f"attempt {attempt} began within the time to settle")
                self._held.drop(selection, drop, self._now)
                self._ask_later_rules(row, fired)
            else:
                self._release_single(row, selection, fired, at=until)
        return len(rows)

    def _ask_later_rules(self, row: HeldNotification, fired: Fired) -> None:
        """Route the event of a failure that does not count to the rules that waited for this."""
        notification = self._store.outbox.read_notification(row.notification_id)
        if notification is None:
            return
        changes = JournalChanges()
        routed = self._reroute(
            notification.rule,
            row.facts.destination,
            notification.event,
            notification.run,
            notification.project,
            self._now,
        )
        changes.notifications.extend(self.admit([(item.notification, item.destinations) for item in routed]))
        self._store.journal.write(changes, self._now)
        fired.destinations.update(name for _, names in changes.notifications for name in names)

    def _release_silenced(self, due: DueHold, fired: Fired) -> int:
        """Send all as one, except those that a later stage looks at one by one."""
        rows = self._held.rows(Selection(due, with_values=True), limit=MAX_RELEASED)
        for row in rows:
            self._release_single(row, Selection(due, ids=[row.id]), fired, at=due.due_at)
        if len(rows) < MAX_RELEASED:
            self._release_together(due, fired, after=Stage.GROUP)
        return len(rows)

    def _release_single(self, row: HeldNotification, selection: Selection, fired: Fired, *, at: datetime) -> None:
        unit = Unit(
            row.facts.rule,
            row.facts.destination,
            frozenset({row.facts.severity}),
            once_value=row.once_value,
            group_value=row.group_value,
        )
        windows = self._windows([unit])
        opened = dict(windows)
        outcome = self._decide(unit, row.facts, at, windows)
        self._store_windows(windows, opened)
        self._apply(outcome, selection, fired)

    def _release_together(self, due: DueHold, fired: Fired, *, after: Stage | None = None) -> None:
        """Release all of a hold as one; ``after``: the last stage that is not asked."""
        selection = Selection(due)
        severities = self._held.severities(selection)
        if not severities:
            return
        unit = Unit(
            self._rule_of(selection),
            due.id.destination,
            severities,
            group_value=self._held.group_value(selection) if due.id.stage is Stage.GROUP else None,
        )
        windows = self._windows([unit])
        opened = dict(windows)
        self._policy.reopen(due.id.stage, unit, due.due_at, windows)
        outcome = self._policy.proceed(unit, after or due.id.stage, due.due_at, self._now, windows)
        self._store_windows(windows, opened)
        self._apply(outcome, selection, fired, due)

    def _release_quiet(self, due: DueHold, fired: Fired) -> int:
        selection, name = Selection(due), due.id.key
        severities = self._held.severities(selection)
        if not severities:
            return 0
        unit = Unit(self._rule_of(selection), due.id.destination, severities)
        is_named = self._policy.names_quiet(name, self._held.rules(selection), due.id.destination)
        outcome = self._policy.ask_quiet(unit, self._now, name if is_named else None)
        if isinstance(outcome, Hold):
            self._held.move(selection, outcome)
            return 0
        if isinstance(outcome, Drop) or self._policy.is_digest(name):
            self._apply(outcome, selection, fired, due)
            return 0
        units = self._held.units(selection, limit=MAX_RELEASED)
        self._queue_singles(Selection(due, ids=[unit_id for unit_id, count in units if count == 1]), fired)
        for unit_id, count in units:
            if count > 1:
                self._queue_summary(Selection(due, unit=unit_id), fired, due)
        return len(units)

    def _rule_of(self, selection: Selection) -> str:
        """The rule of all that is selected; empty if there are several."""
        rules = self._held.rules(selection)
        return rules[0] if len(rules) == 1 else ""

    def _apply(self, outcome: Outcome, selection: Selection, fired: Fired, due: DueHold | None = None) -> None:
        """Carry out the outcome for the selection; ``due`` is the hold that is released as one."""
        match outcome:
            case Hold():
                self._held.move(selection, outcome, as_one=due is not None)
            case Drop():
                self._held.drop(selection, outcome, self._now)
            case Deliver() if due is not None:
                self._queue_summary(selection, fired, due)
            case _:
                self._queue_singles(selection, fired)

    def _queue_singles(self, selection: Selection, fired: Fired) -> None:
        rows = self._held.rows(selection, limit=MAX_RELEASED)
        deliveries = [(row.notification_id, row.facts.destination, row.thread, row.facts.severity) for row in rows]
        self._store.journal.add_deliveries(deliveries, self._now)
        self._held.mark_told(selection, self._now)
        fired.destinations.update(row.facts.destination for row in rows)

    def _queue_summary(self, selection: Selection, fired: Fired, due: DueHold) -> None:
        if self._held.count(selection, up_to=2) == 1:
            self._queue_singles(selection, fired)
            return
        changes = JournalChanges()
        summary = self._held.summarize(selection, max_titles=MAX_TITLES)
        notification = summary_notification(summary, due.id.destination, due.id.stage, due.id.key, self._now)
        changes.events.append(notification.event)
        changes.notifications.append((notification, [due.id.destination]))
        self._store.journal.write(changes, self._now)
        self._held.mark_told(selection, self._now, by=notification.id)
        fired.destinations.add(due.id.destination)

    def _decide_first(self, unit: Unit, facts: Facts, windows: Windows) -> Outcome:
        """The effect of all stages on a new notification."""
        if unit.until_settled is not None:
            return self._policy.settling(unit)
        return self._decide(unit, facts, self._now, windows)

    def _decide(self, unit: Unit, facts: Facts, at: datetime, windows: Windows) -> Outcome:
        """The effect of the stages behind ``settle`` on one notification."""
        if (silence := silence_of(facts, self._silences, self._now)) is not None:
            return Hold(Stage.SILENCES, silence.id, silence.expires_at)
        return self._policy.proceed(unit, Stage.SILENCES, at, self._now, windows)

    def _windows(self, units: Iterable[Unit]) -> Windows:
        return self._store.stage_windows.read(key for unit in units for key in self._policy.window_keys(unit))

    def _store_windows(self, windows: Windows, before: Windows) -> None:
        self._store.stage_windows.write(
            {key: window for key, window in windows.items() if before.get(key) != window}
        )
