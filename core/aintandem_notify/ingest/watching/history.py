"""The usual durations of subjects, read from the store when they are needed."""

from typing import Final

from aintandem_notify.domain.runs import Run
from aintandem_notify.domain.subjects import subject_of
from aintandem_notify.store import Store
from aintandem_notify.watches.durations import MAX_DURATIONS, UsualDuration, usual_duration

MAX_SUBJECTS: Final = 2000
"""Subjects whose durations are kept in memory, some 4 MB at most; the one used longest ago is dropped first."""


class DurationHistory:
    """The usual durations of subjects, with a bounded memory."""

    def __init__(self) -> None:
        self._usual: dict[int, UsualDuration] = {}

    def usual(self, store: Store, run: Run) -> UsualDuration:
        """The usual duration of the run's subject. Call it inside a transaction."""
        subject = _subject(run)
        usual = self._usual.pop(subject, None)
        if usual is None:
            usual = usual_duration(store.watched_runs.durations(subject, MAX_DURATIONS))
        self._usual[subject] = usual
        while len(self._usual) > MAX_SUBJECTS:
            del self._usual[next(iter(self._usual))]
        return usual

    def note_end(self, run: Run) -> None:
        """Note that the subject may have a new duration."""
        self._usual.pop(_subject(run), None)


def _subject(run: Run) -> int:
    return subject_of(run.project_id, run.kind.value, run.name)
