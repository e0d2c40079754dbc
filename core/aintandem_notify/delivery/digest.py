"""A backlog that nobody would read: what matters least in it becomes one summary, in the place of the oldest.

Only after a destination was out of reach for a while, and only at those that people read. Errors are never folded.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

from aintandem_notify.domain.events import BacklogFoldedEvent
from aintandem_notify.domain.notification import Notification, Severity, agent_thread
from aintandem_notify.rules import default_texts, formats
from aintandem_notify.store import BacklogSummary, JournalChanges, Store

MIN_BACKLOG_AGE_S: Final = 600.0
"""Seconds that the oldest must have waited: a short rush is delivered as it is."""

FOLD_FIRST: Final = (Severity.INFO, Severity.SUCCESS)
FOLD_NEXT: Final = (Severity.WARNING,)

MAX_BATCH: Final = 5000
"""Deliveries in one summary at the most; what is still too much has another one."""

MAX_NAMES: Final = 20
MAX_TYPES: Final = 12
MAX_NAME_LENGTH: Final = 80


class FoldCandidate(NamedTuple):
    """A delivery that may be folded."""

    id: int
    severity: Severity


def select_foldable(waiting: Sequence[FoldCandidate], *, queued: int, over: int) -> tuple[int, ...]:
    """Which of those that ``waiting`` has, the oldest first, are folded when ``queued`` are due in all.

    With more than ``over``, so many that with the summary half of ``over`` are left: were it all of them, each
    that comes while the rest goes out would need a summary of its own. The oldest go first, warnings last. Empty
    when there are so few of them that it is not worth it.
    """
    if queued <= over:
        return ()
    surplus = queued + 1 - over // 2
    first = [one.id for one in waiting if one.severity in FOLD_FIRST]
    then = [one.id for one in waiting if one.severity in FOLD_NEXT]
    found = sorted([*first, *then][:surplus])
    return tuple(found) if len(found) >= max(2, over // 10) else ()


def fold_backlog(store: Store, name: str, over: int, now: datetime) -> int:
    """Fold what is too much for this destination, and queue the summary; how many. In a transaction."""
    old = now - timedelta(seconds=MIN_BACKLOG_AGE_S)
    queued = store.backlog.count_if_over(name, threshold=over, older_than=old)
    if queued is None:
        return 0
    found = store.backlog.foldable(name, [level.value for level in (*FOLD_FIRST, *FOLD_NEXT)], limit=MAX_BATCH)
    waiting = [FoldCandidate(delivery, Severity(level)) for delivery, level in found]
    ids = select_foldable(waiting, queued=queued, over=over)
    if not ids:
        return 0
    sent = summary(name, store.backlog.summarize(ids, max_names=MAX_NAMES), now)
    store.journal.write(JournalChanges(events=[sent.event], notifications=[(sent, [name])]), now)
    store.backlog.fold(name, ids, sent.id, now)
    return len(ids)


def summary(name: str, told: BacklogSummary, now: datetime) -> Notification:
    """The one notification that stands for all of them, at the destination ``name``."""
    event = BacklogFoldedEvent(
        timestamp=now,
        instance=name,
        count=sum(told.types.values()),
        runs=told.threads,
        types=most_common(told.types),
        names=tuple(formats.one_line(one, MAX_NAME_LENGTH) for one in told.names),
        oldest=told.oldest,
        newest=told.newest,
    )
    subject = (event, None, None)
    digest = blake2b(f"{event.key}\n{told.first}".encode(), digest_size=16).hexdigest()
    return Notification(
        id=f"ntf_{digest}",
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
    """The counts of the types that there is most of; the rest together."""
    ordered = Counter(types).most_common()
    shown, rest = ordered[:MAX_TYPES], ordered[MAX_TYPES:]
    return dict(shown) | ({"others": sum(count for _, count in rest)} if rest else {})
