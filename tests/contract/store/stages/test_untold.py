"""The notifications that are not told, in every database."""

from datetime import timedelta

from aintandem_notify.domain.notification import Severity
from aintandem_notify.domain.runs import advance
from aintandem_notify.stages.pipeline import Drop, Hold, Stage, Unit
from aintandem_notify.store import Store
from aintandem_notify.store.stages.held import NewHold, Selection
from aintandem_notify.store.tables.journal import JournalChanges
from support.outbox import NOW, event, new_store, notification
from support.stores import any_store, store_url

__all__ = ["any_store", "store_url"]

LATER = NOW + timedelta(hours=1)
UNIT = Unit("all", "slack.team", frozenset({Severity.ERROR}))


def add(store: Store, run: str, outcome: Hold | Drop) -> None:
    failed = event("task_failed", run)
    attempt = advance(None, failed)
    about = notification(failed, attempt)
    held = [(about, ())] if isinstance(outcome, Hold) else []
    with store.transaction():
        changes = JournalChanges(events=[failed], new_runs=[attempt], notifications=list(held))
        store.journal.write(changes, NOW)
        store.held.add([NewHold(about, UNIT, outcome)], NOW, config_hash="c")


def test_held_and_dropped_ones_are_listed_until_they_are_told(any_store: str) -> None:
    store = new_store()
    add(store, "t1", Hold(Stage.QUIET, "night", LATER))
    add(store, "t2", Drop(Stage.ONCE_PER, "cooldown"))
    with store.transaction():
        held, dropped = store.untold.list()
        assert (held.run_name, held.title, held.hold_key, held.until) == ("t1", "task_failed t1", "night", LATER)
        assert (dropped.run_name, dropped.title, dropped.reason, dropped.until) == ("t2", "", "cooldown", None)
        assert (held.is_dropped, dropped.is_dropped) == (False, True)
        assert store.untold.list(after_id=held.id) == [dropped]
        [due] = store.held.due(LATER)
        store.held.mark_told(Selection(due), LATER)
        assert store.untold.list() == [dropped]
