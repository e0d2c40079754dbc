"""The episodes of a store, and who was told of them."""

from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from aintandem_notify.rules.effective_rules import NO_STAGES
from aintandem_notify.stages.episodes import EndedBy, Episode, Trouble, begin, end, take
from aintandem_notify.store import PRUNE_STEPS, PruneLimits, Store
from support.outbox import NOW, event, new_store, queue_up

pytestmark = pytest.mark.usefixtures("any_store")


def trouble(number: int = 1, seconds: float = 0, **more: Any) -> Trouble:
    values: dict[str, Any] = {
        "rule": "failures",
        "number": number,
        "type": "task_failed",
        "event_key": "e" * 32,
        "occurred_at": NOW + timedelta(seconds=seconds),
        "thread": "t",
        "notification_id": "ntf_1",
        "project_id": "p",
        "run_number": 100 + number,
    }
    return Trouble(**values | more)


def opened(number: int = 1, seconds: float = 0, **more: Any) -> Episode:
    return take(None, trouble(number, seconds, **more), NO_STAGES)[0]


def write(store: Store, *episodes: Episode, **due: Any) -> None:
    with store.transaction():
        store.episodes.write(episodes, [], due)


def test_a_current_episode_is_found_by_its_number_and_by_its_run() -> None:
    with closing(new_store()) as store:
        one, other, ended = opened(1), opened(2, 5), end(opened(3), NOW, EndedBy.HAND)
        write(store, one, other, ended)
        with store.transaction():
            assert store.episodes.current([1, 3]) == [one]
            assert store.episodes.current([], [102]) == [other]
            assert store.episodes.current([1], [101, 102]) == [one, other]
            assert store.episodes.projects_with_current(["p", "q"]) == {"p"}


def test_only_confirmed_episodes_that_have_not_ended_are_open() -> None:
    with closing(new_store()) as store:
        one, ended, pending = opened(1), end(opened(2), NOW, EndedBy.HAND), begin(trouble(3))
        write(store, one, ended, pending)
        with store.transaction():
            assert store.episodes.open() == [one]
            assert store.episodes.open(rules=["other"]) == store.episodes.open(project_id="q") == []


def test_whoever_is_told_of_an_open_episode_is_a_recipient_and_of_an_ended_one_is_not() -> None:
    with closing(new_store()) as store:
        one, ended = opened(1), end(opened(2), NOW, EndedBy.HAND)
        write(store, one, ended)
        with store.transaction():
            told = [(one.id, "slack.team", "ntf_1"), (ended.id, "slack.team", "ntf_2")]
            assert store.episodes.note_told(told, NOW) == {one.id}
            assert [name for name, _ in store.episodes.recipients([one.id, ended.id])[one.id]] == ["slack.team"]
            assert store.episodes.recipients([ended.id]) == {}
            [again] = store.episodes.by_ids([one.id])
            assert again.told_at == NOW


def test_the_fallback_of_a_delivery_that_was_given_up_is_the_recipient() -> None:
    with closing(new_store()) as store:
        queue_up([event("task_failed")], destinations=("a.a",))(store)
        one = opened(1)
        write(store, one)
        with store.transaction():
            [claim] = store.outbox.claim("a.a", limit=1, now=NOW, horizon=NOW)
            store.episodes.note_told([(one.id, "a.a", claim.notification.id)], NOW)
            store.delivery_queries.drop([claim.id], now=NOW, in_flight=())
            assert store.episodes.recipients([one.id]) == {}


def test_a_change_by_ingest_keeps_who_was_told_and_who_has_acknowledged() -> None:
    with closing(new_store()) as store:
        one = opened(1)
        write(store, one)
        with store.transaction():
            store.episodes.note_told([(one.id, "a.a", "ntf_1")], NOW)
            store.episodes.acknowledge(one.id, "anna", NOW)
            after, _ = take(one, trouble(1, 9), NO_STAGES)
            store.episodes.write([], [after], {one.id: NOW})
            [stored] = store.episodes.by_ids([one.id])
        assert (stored.troubles, stored.told_at, stored.acknowledged_by) == (2, NOW, "anna")


def test_due_episodes_come_in_the_order_of_their_times() -> None:
    with closing(new_store()) as store:
        first, second, none = opened(1), opened(2), opened(3)
        write(store, first, second, none, **{first.id: NOW + timedelta(seconds=9), second.id: NOW})
        with store.transaction():
            assert store.episodes.next_due() == NOW
            assert store.episodes.due(NOW, limit=9) == [second]
            assert store.episodes.due(NOW + timedelta(seconds=9), limit=9) == [second, first]
            store.episodes.set_due({first.id: None, second.id: None})
            assert store.episodes.next_due() is None


def test_a_prefix_of_an_id_finds_it() -> None:
    with closing(new_store()) as store:
        one = opened(1)
        write(store, one)
        with store.transaction():
            assert store.episodes.by_id(one.id[:6], limit=2) == [one]
            assert store.episodes.by_id("ep_zzz", limit=2) == []


def test_old_episodes_are_deleted_with_their_recipients() -> None:
    with closing(new_store()) as store:
        old, new = opened(1, -40 * 86400), opened(2)
        write(store, old, new)
        with store.transaction():
            store.episodes.note_told([(old.id, "a.a", "ntf_1"), (new.id, "a.a", "ntf_2")], NOW)
            store.episodes.add_starts([(1, NOW - timedelta(days=90)), (1, NOW)])
        with store.transaction():
            PRUNE_STEPS["episodes"](store.retention, PruneLimits(NOW, timedelta(days=30)), None)
            assert [episode.id for episode in store.episodes.by_ids([old.id, new.id])] == [new.id]
            assert list(store.episodes.recipients([old.id, new.id])) == [new.id]
            begun = NOW - timedelta(days=91)
            assert not store.episodes.begins_again(1, begun, NOW - timedelta(seconds=1))
            assert store.episodes.begins_again(1, begun, NOW)
