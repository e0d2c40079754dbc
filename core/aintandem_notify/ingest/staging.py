"""Applies the stages of the rules inside one transaction of the store.

``admit`` asks them about new notifications, ``fire`` releases due holds. The decisions are those of ``stages``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from aintandem_notify.domain.notification import Notification
from aintandem_notify.ingest.episode_keeping import NOT_A_CHANGE, Admission, EpisodeKeeper, EpisodeRouter, Taken
from aintandem_notify.ingest.plan import Signal
from aintandem_notify.stages.facts import Facts
from aintandem_notify.stages.pipeline import Deliver, Drop, Hold, Outcome, Stage, StagePolicy, Unit, Windows
from aintandem_notify.stages.silences import Silence, silence_of
from aintandem_notify.stages.summaries import MAX_TITLES_READ, summary_notification
from aintandem_notify.stages.trouble import number_of_run
from aintandem_notify.store import JournalChanges, Store
from aintandem_notify.store.stages.contents import RulePart
from aintandem_notify.store.stages.held import DueHold, HeldNotification, NewHold, Selection, parts_of

MAX_RELEASED: Final = 1000
"""Notifications that are released one by one in a transaction; the others follow in the next one."""

CATCH_UP_GRACE: Final = timedelta(minutes=10)
"""The time for which a failure goes on settling if its project is not caught up: a retry may be unknown.

It counts from the start of the agent, if that is later.
"""

_ASK_EVERY_S: Final = 5
"""A divisor of 60."""


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
        router: EpisodeRouter,
        is_caught_up: Callable[[str], bool],
        begun_at: datetime,
    ) -> None:
        self._store = store
        self._held = store.held
        self._policy = policy
        self._silences = silences
        self._now = now
        self._keeper = EpisodeKeeper(store, policy, router, now)
        self._is_caught_up = is_caught_up
        self._begun_at = begun_at

    def admit(
        self,
        notifications: Sequence[tuple[Notification, Sequence[str]]],
        at: datetime | None = None,
        signals: Sequence[Signal] = (),
    ) -> list[tuple[Notification, Sequence[str]]]:
        """Ask the stages about new notifications; returns those to store, each with the destinations told now.

        Stores the held and the dropped ones itself, and adds those about the ends of episodes. The stages decide
        as of ``at``, by default as of now.
        """
        at = at or self._now
        admissions = self._keeper.follow(notifications, signals)
        units = [self._units(admission) for admission in admissions]
        windows = self._windows(unit for row in units for unit in row)
        opened = dict(windows)
        admitted: dict[str, tuple[Notification, list[str]]] = {}
        holds: list[NewHold] = []
        for admission, row in zip(admissions, units, strict=True):
            notification, episode = admission.notification, admission.episode
            for unit in row:
                outcome = self._decide_first(admission, unit, at, windows)
                if isinstance(outcome, Deliver):
                    self._keeper.note_told(episode, unit.destination, notification.id)
                else:
                    holds.append(NewHold(notification, unit, outcome, admission.trouble, episode))
                if not isinstance(outcome, Drop):  # the text of a held one is stored, too
                    names = admitted.setdefault(notification.id, (notification, []))[1]
                    names += [unit.destination] if isinstance(outcome, Deliver) else []
        self._store_windows(windows, opened)
        self._held.add(holds, self._now, config_hash=self._policy.config_hash)
        self._keeper.flush()
        return list(admitted.values())

    def _units(self, admission: Admission) -> list[Unit]:
        units = [self._policy.unit(admission.notification, name) for name in admission.names]
        return [replace(unit, is_end=True, once_value=None) for unit in units] if admission.is_end else units

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
            budget -= 1 + self._release(due, fired)
        fired.more = True
        return fired

    def fire_plainly(self) -> Fired:
        """Send the notifications of the first due hold one by one, without asking any stage."""
        fired = Fired(more=True)
        due = next(iter(self._held.due(self._now)), None)
        if due is None or not self._held.lock(due):
            return Fired()
        self._queue_singles(due, self._held.rows(Selection(due), limit=MAX_RELEASED), fired)
        return fired

    def _release(self, due: DueHold, fired: Fired) -> int:
        """Release a hold, or a part of it; returns the number of notifications looked at one by one."""
        match due.id.stage:
            case Stage.SETTLE:
                return self._release_settled(due._replace(due_at=self._now), fired)
            case Stage.SILENCES:
                return self._silence_again(due) + self._release_silenced(due, fired)
            case Stage.QUIET if self._policy.is_digest(due.id.key):
                return self._release_digest(due, fired)
            case Stage.QUIET:
                return self._release_each(due, fired)
            case _:
                compared = self._silence_again(due)
                self._release_together(due, fired)
                return compared

    def _silence_again(self, due: DueHold, **part: Any) -> int:
        """Move silenced ones of the hold, or of a ``part`` of it; returns how many were compared."""
        if not self._silences:
            return 0
        compared, after_id = 0, 0
        while rows := self._held.rows(Selection(due, **part), after_id=after_id, limit=MAX_RELEASED):
            self._silence_rows(due, rows)
            compared += len(rows)
            after_id = rows[-1].id
        return compared

    def _silence_rows(self, due: DueHold, rows: Sequence[HeldNotification]) -> list[HeldNotification]:
        """Move silenced ones to their silence; returns the others."""
        silenced: dict[Hold, list[int]] = {}
        others: list[HeldNotification] = []
        for row in rows:
            if row.is_end or (hold := self._silenced(row.facts)) is None:
                others.append(row)
            else:
                silenced.setdefault(hold, []).append(row.id)
        for hold, ids in silenced.items():
            # Who has passed ``once_per`` is the one for its value, and would not pass again.
            self._held.move(Selection(due, ids=ids), hold, has_passed_values=due.id.stage > Stage.SILENCES)
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
        windows = self._windows(units)
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
                outcome = self._decide(unit, row.facts, at, windows)
            if isinstance(outcome, Hold):
                limit_at = min(limit_at, outcome.until)
            decided.setdefault(outcome, []).append(row)
        self._store_windows(windows, opened)
        self._carry_out(decided, due, fired)
        if rerouted:
            self._admit_behind(rerouted, rerouted_at, fired)
        return len(rows)

    def _may_be_retried(self, row: HeldNotification, settle_s: float) -> bool:
        """True while a retry may be unknown because the project is not caught up."""
        settled_at = min(row.due_at, row.occurred_at + timedelta(seconds=settle_s))
        patience_ends = max(settled_at, self._begun_at) + CATCH_UP_GRACE
        return not self._is_caught_up(row.facts.project_id) and self._now < patience_ends

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

    def _admit_behind(
        self, routed: Sequence[tuple[Notification, Sequence[str]]], at: datetime, fired: Fired
    ) -> None:
        changes = JournalChanges()
        for notification, names in self.admit(routed, at):
            if self._store.outbox.read_notification(notification.id) is None:
                changes.notifications.append((notification, names))
            else:  # the rule has told another destination
                sent = [(notification.id, name, notification.thread, notification.severity) for name in names]
                self._store.journal.add_deliveries(sent, self._now)
            fired.destinations.update(names)
        self._store.journal.write(changes, self._now)

    def _release_silenced(self, due: DueHold, fired: Fired) -> int:
        """Send all as one, except those that ``once_per`` or a group keep for themselves."""
        rows = self._held.rows(Selection(due, with_values=True), limit=MAX_RELEASED)
        if rows:
            self._ask_values(due, rows)
        if len(rows) == MAX_RELEASED:
            return len(rows)  # there may be more
        parts = self._held.parts(Selection(due))
        if len(parts) == 1:
            self._release_together(due, fired, after=Stage.GROUP)
        elif told := self._ask_quiet(due, parts, as_one=True):
            self._queue_summary(due, fired, rules=told)
        return len(rows)

    def _ask_values(self, due: DueHold, rows: Sequence[HeldNotification]) -> None:
        units = [_unit_of(row) for row in rows]
        windows = self._windows(units)
        opened = dict(windows)
        decided: dict[Outcome, list[int]] = {}
        for row, unit in zip(rows, units, strict=True):
            decided.setdefault(self._policy.ask_values(unit, due.due_at, windows), []).append(row.id)
        self._store_windows(windows, opened)
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
        )
        windows = self._windows([unit])
        opened = dict(windows)
        self._policy.reopen(due.id.stage, unit, due.due_at, windows)
        outcome = self._policy.proceed(unit, after or due.id.stage, due.due_at, self._now, windows)
        if not isinstance(outcome, Drop):  # or nobody was told, so the next one need not wait
            self._store_windows(windows, opened)
        if isinstance(outcome, Deliver):
            self._queue_summary(due, fired)
        else:
            self._apply(outcome, due, as_one=True)

    def _release_digest(self, due: DueHold, fired: Fired) -> int:
        told = self._ask_quiet(due, self._held.parts(Selection(due)))
        compared = self._silence_again(due, rules=told) if told else 0
        if told:
            self._queue_summary(due, fired, rules=told)
        return compared

    def _release_each(self, due: DueHold, fired: Fired) -> int:
        rows = self._held.rows(Selection(due), limit=MAX_RELEASED)
        told = self._ask_quiet(due, parts_of(rows))
        singles = [row for row in rows if row.facts.rule in told and row.bundle is None]
        self._queue_singles(due, self._silence_rows(due, singles), fired)
        for bundle in {row.bundle: None for row in rows if row.facts.rule in told and row.bundle is not None}:
            self._silence_again(due, rules=told, bundle=bundle)
            self._queue_summary(due, fired, rules=told, bundle=bundle)
        return len(rows)

    def _ask_quiet(self, due: DueHold, parts: Mapping[str, RulePart], *, as_one: bool = False) -> list[str]:
        """Hold or drop those whose quiet hours have not ended; returns the rules of the others."""
        decided: dict[Outcome, list[str]] = {}
        for rule, (severities, held_since) in parts.items():
            unit = Unit(rule, due.id.destination, severities, held_since=held_since)
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
                (row.notification_id, row.facts.destination, row.thread, row.facts.severity) for row in rows
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

    def _decide_first(self, admission: Admission, unit: Unit, at: datetime, windows: Windows) -> Outcome:
        """The effect of all stages on a new notification."""
        if admission.refused is not None:
            return Drop(Stage.ON, admission.refused)
        if unit.until_settled is not None:
            return self._policy.settling(unit)
        return self._decide(unit, Facts.of(admission.notification, unit.destination), at, windows)

    def _decide(self, unit: Unit, facts: Facts, at: datetime, windows: Windows) -> Outcome:
        """The effect of the stages behind ``settle`` on one notification."""
        if not unit.is_end and (hold := self._silenced(facts)) is not None:
            return hold
        return self._policy.proceed(unit, Stage.SILENCES, at, self._now, windows)

    def _silenced(self, facts: Facts) -> Hold | None:
        """The hold of the silence that lasts longest; None if no silence matches."""
        silence = silence_of(facts, self._silences, self._now)
        return None if silence is None else Hold(Stage.SILENCES, silence.id, silence.expires_at)

    def _windows(self, units: Iterable[Unit]) -> Windows:
        return self._store.stage_windows.read(key for unit in units for key in self._policy.window_keys(unit))

    def _store_windows(self, windows: Windows, before: Windows) -> None:
        self._store.stage_windows.write(
            {key: window for key, window in windows.items() if before.get(key) != window}
        )


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
