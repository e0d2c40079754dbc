"""Asks the stages about notifications that come to them: new ones, those of later rules, and words about episodes.

In one transaction of the store. ``staging`` releases those that a stage has held.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from aintandem_notify.domain.events import Family
from aintandem_notify.domain.notification import Notification
from aintandem_notify.ingest.episode_keeping import Admission, EpisodeKeeper
from aintandem_notify.stages.episodes import Episode, holding
from aintandem_notify.stages.facts import Facts
from aintandem_notify.stages.pipeline import Deliver, Drop, Hold, Outcome, Stage, StagePolicy, Unit, Windows
from aintandem_notify.stages.silences import Silence, silence_of
from aintandem_notify.store import JournalChanges, Store
from aintandem_notify.store.stages.held import NewHold


class Admitting:
    """The stages of a config and the active silences, in one transaction of ``store``."""

    def __init__(
        self,
        store: Store,
        policy: StagePolicy,
        silences: Sequence[Silence],
        keeper: EpisodeKeeper,
        now: datetime,
    ) -> None:
        self._store = store
        self._policy = policy
        self._silences = silences
        self._keeper = keeper
        self._now = now
        self.next_due: datetime | None = None
        """The first due time of the notifications that were held in this transaction; None if none was held."""

    def admit(
        self, admissions: Iterable[Admission | None], at: datetime
    ) -> list[tuple[Notification, Sequence[str]]]:
        """Ask the stages, as of ``at``. Returns those to store, each with the destinations told now.

        Stores the held and the dropped ones itself. None: see ``EpisodeKeeper.follow``.
        """
        admitted: dict[str, tuple[Notification, Sequence[str]]] = {}
        undecided: list[Admission] = []
        for admission in admissions:
            if admission is None:
                self._admit(undecided, at, admitted)
                undecided = []
            else:
                undecided.append(admission)
        self._admit(undecided, at, admitted)
        return list(admitted.values())

    def _admit(
        self,
        admissions: Sequence[Admission],
        at: datetime,
        admitted: dict[str, tuple[Notification, Sequence[str]]],
    ) -> None:
        if self._policy.is_empty and not self._silences:
            for admission in admissions:
                notification = admission.notification
                admitted[notification.id] = (notification, admission.names)
                if admission.episode is not None:
                    for name in admission.names:
                        self._keeper.note_told(admission.episode, name, notification.id)
            self._keeper.flush()
            return
        units = [self._units(admission) for admission in admissions]
        windows = self.windows(unit for row in units for unit in row)
        opened = dict(windows)
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
                    if isinstance(outcome, Deliver):
                        admitted[notification.id] = (notification, [*names, unit.destination])
                if isinstance(outcome, Hold) and (self.next_due is None or outcome.until < self.next_due):
                    self.next_due = outcome.until
        self.store_windows(windows, opened)
        self._store.held.add(holds, self._now, config_hash=self._policy.config_hash)
        self._keeper.flush()

    def queue(self, admissions: Iterable[Admission | None], at: datetime) -> set[str]:
        """As ``admit``, and stores the others, too; returns the destinations with new deliveries."""
        changes = JournalChanges()
        destinations: set[str] = set()
        for notification, names in self.admit(admissions, at):
            if self._store.outbox.read_notification(notification.id) is None:
                changes.notifications.append((notification, names))
            else:  # the rule has told another destination
                sent = [(notification.id, name, notification.thread, notification.severity) for name in names]
                self._store.journal.add_deliveries(sent, self._now)
            destinations.update(names)
        self._store.journal.write(changes, self._now)
        return destinations

    def _units(self, admission: Admission) -> list[Unit]:
        units = [self._policy.unit(admission.notification, name) for name in admission.names]
        if not admission.is_word:
            return units
        # ``once_per`` is about events, and a word is about an episode.
        return [replace(unit, is_end=admission.is_end, once_value=None, until_settled=None) for unit in units]

    def _decide_first(self, admission: Admission, unit: Unit, at: datetime, windows: Windows) -> Outcome:
        """The effect of all stages on a new notification."""
        if admission.refused is not None:
            return Drop(Stage.ON, admission.refused)
        if unit.until_settled is not None:
            return self._policy.settling(unit)
        return self.decide(unit, Facts.of(admission.notification, unit.destination), at, windows)

    def decide(self, unit: Unit, facts: Facts, at: datetime, windows: Windows) -> Outcome:
        """The effect of the stages behind ``on`` on one notification."""
        if not unit.is_end:
            held = self.held_back(facts, unit.held_since or self._now)
            if held is not None:
                return held
        return self._policy.proceed(unit, Stage.HELD_BACK_BY, at, self._now, windows)

    @property
    def may_hold_back(self) -> bool:
        """True if a silence, or trouble that is a cause, may hold something."""
        return bool(self._silences) or self._policy.has_causes

    def held_back(self, facts: Facts, held_since: datetime) -> Hold | None:
        """The hold by a silence or by trouble that is the cause; None if neither holds it.

        Of several silences, the one that lasts longest; of several causes, the oldest.
        """
        silence = silence_of(facts, self._silences, self._now)
        if silence is not None:
            return Hold(Stage.SILENCES, silence.id, silence.expires_at)
        stages = self._policy.stages(facts.rule)
        until = held_since + timedelta(seconds=stages.hold_at_most)
        if not stages.held_back_by or until <= self._now:
            return None
        cause = holding(
            self._causes(facts.project_id, stages.held_back_by),
            project_id=facts.project_id,
            workflow_id=facts.workflow_id,
            sandbox_id=facts.run_id if facts.family == Family.SANDBOX else "",
        )
        return None if cause is None else Hold(Stage.HELD_BACK_BY, cause.id, until)

    def _causes(self, project_id: str, rules: Sequence[str]) -> list[Episode]:
        """The open episodes of these rules in the project, also those that this transaction has begun."""
        self._keeper.flush()
        return self._store.episodes.open(rules=rules, project_id=project_id)

    def windows(self, units: Iterable[Unit]) -> Windows:
        """The stored windows of these units."""
        keys = {key for unit in units for key in self._policy.window_keys(unit)}
        # Most are locked already: a release has locked its one destination, and ``Staging.admit`` locks first.
        self._store.stage_locks.wait_for(key.destination for key in keys)
        return self._store.stage_windows.read(keys)

    def store_windows(self, windows: Windows, before: Windows) -> None:
        """Store the windows that have changed since ``before``."""
        self._store.stage_windows.write(
            {key: window for key, window in windows.items() if before.get(key) != window}
        )
