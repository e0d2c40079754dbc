"""Times at the limits of the calendar come back from a store unchanged. Every database must pass these tests."""

from datetime import UTC, datetime

import pytest

from aintandem_notify.store import Store
from support.outbox import claim_all, event, new_store, queue_up
from support.stores import any_store, store_url

__all__ = ["any_store", "store_url"]


@pytest.fixture
def store(any_store: str) -> Store:
    return new_store()


FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("moment", [FIRST, LAST, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)])
def test_an_event_of_any_time_is_delivered_with_it(store: Store, moment: datetime) -> None:
    queue_up([event("task_failed", timestamp=moment.isoformat())])(store)

    (claim,) = claim_all()(store)

    assert claim.notification.occurred_at == moment
    assert claim.notification.run is not None
    assert claim.notification.run.ended_at == moment
