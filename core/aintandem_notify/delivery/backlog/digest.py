"""Folds a backlog that nobody would read: one summary replaces its least important deliveries.

Only after a destination was unreachable for a while, and only at destinations that people read. Errors are never
folded.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

from aintandem_notify.domain.events import BacklogFoldedEvent
from aintandem_notify.domain.notification import Notification, Severity, agent_thread
from aintandem_notify.rules import default_texts, formats
from aintandem_notify.store import BacklogSummary, JournalChanges, Store

MIN_BACKLOG_AGE_S: Final = 600.0
"""Seconds that the oldest delivery must have waited. A short burst is delivered as it is."""

FOLD_FIRST: Final = (Severity.INFO, Severity.SUCCESS)
FOLD_NEXT: Final = (Severity.WARNING,)

MAX_BATCH: Final = 5000
"""Maximum number of deliveries in one summary. A larger backlog gets another one."""

MAX_NAMES: Final = 20
MAX_TYPES: Final = 12
MAX_NAME_CHARACTERS: Final = 80


class FoldCandidate(NamedTuple):
    """A delivery that may be folded."""

    id: int
    severity: Severity


def select_foldable(waiting: Sequence[FoldCandidate], *, queued: int, over: int) -> tuple[int, ...]:
    """Returns the ids to fold out of ``waiting`` (the oldest first); ``queued`` is the size of the whole backlog.

    Above ``over``, folds as many as leave half of ``over``, summary included. If ``over`` were left, each delivery
    that arrives during the sending would need another summary. Folds the oldest first and warnings last. Empty if
    too few can be folded to be worth it.
    """
    if queued <= over:
        return ()
    surplus = queued + 1 - over // 2
    first = [candidate.id for candidate in waiting if candidate.severity in FOLD_FIRST]
    warnings = [candidate.id for candidate in waiting if candidate.severity in FOLD_NEXT]
    selected = sorted([*first, *warnings][:surplus])
    return tuple(selected) if len(selected) >= max(2, over // 10) else ()


def fold_backlog(store: Store, name: str, over: int, now: datetime, under_way: Collection[int] = ()) -> int:
    """Folds the backlog of the destination ``name`` if it is too large, and queues the summary. In a transaction.

    Returns the number of folded deliveries; 0 if the backlog stays as it is. Leaves those ``under_way`` alone.
    """
    older_than = now - timedelta(seconds=MIN_BACKLOG_AGE_S)
    queued = store.backlog.count_if_over(name, threshold=over, older_than=older_than)
    if queued is None:
        return 0
    rows = store.backlog.foldable(name, [level.value for level in (*FOLD_FIRST, *FOLD_NEXT)], limit=MAX_BATCH)
    waiting = [FoldCandidate(delivery, Severity(level)) for delivery, level in rows if delivery not in under_way]
    ids = select_foldable(waiting, queued=queued, over=over)
    if not ids:
        return 0
    changes = JournalChanges()
    summary = build_summary(name, store.backlog.summarize(ids, max_names=MAX_NAMES), now)
    changes.events.append(summary.event)
    changes.notifications.append((summary, [name]))
    store.journal.write(changes, now)
    store.backlog.fold(name, ids, summary.id, now)
    return len(ids)


def build_summary(name: str, stats: BacklogSummary, now: datetime) -> Notification:
    """Returns the notification that replaces the folded ones at the destination ``name``."""
    event = BacklogFoldedEvent(
        timestamp=now,
        instance=name,
        count=sum(stats.types.values()),
        runs=stats.threads,
        types=most_common(stats.types),
        names=tuple(formats.one_line(run_name, MAX_NAME_CHARACTERS) for run_name in stats.names),
        oldest=stats.oldest,
        newest=stats.newest,
    )
    subject = (event, None, None)
    id_hash = blake2b(f"{event.key}\n{stats.first_notification_id}".encode(), digest_size=16).hexdigest()
    return Notification(
        id=f"ntf_{id_hash}",
        thread=agent_thread(name),
        severity=default_texts.default_text(event).severity,
        title=default_texts.title(subject),
        body=default_texts.body(subject),
        fields=default_texts.fields(subject),
        event=event,
        rule="backlog",
        created_at=now,
    )


def most_common(types: Mapping[str, int]) -> dict[str, int]:
    """Returns the counts of the most frequent types, and the sum of all others as ``others``."""
    ordered = Counter(types).most_common()
    frequent, others = ordered[:MAX_TYPES], ordered[MAX_TYPES:]
    return dict(frequent) | ({"others": sum(count for _, count in others)} if others else {})
