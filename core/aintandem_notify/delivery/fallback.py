"""What another destination takes over, and what it must not."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.delivery.settings import DestinationSettings
from aintandem_notify.delivery.settlement import too_old_reason
from aintandem_notify.domain.notification import agent_thread
from aintandem_notify.store import DeliveryState, Settlement, Store

MAX_BATCH: Final = 500
"""Deliveries that are taken over in one transaction."""


def select_for_fallback(settings: DestinationSettings, settlements: Sequence[Settlement]) -> dict[int, str]:
    """The deliveries that died just now and are the fallback's from here on, by id, each with its reason.

    A destination never gets to tell of its own trouble.
    """
    if settings.fallback is None:
        return {}
    own_trouble = agent_thread(settings.fallback)
    return {
        one.claim.id: one.reason or ""
        for one in settlements
        if one.state is DeliveryState.DEAD and one.claim.notification.thread != own_trouble
    }


def take_over_waiting(
    store: Store, settings: DestinationSettings, now: datetime, spare: Sequence[int], *, aged_at: datetime
) -> int:
    """Hand over up to ``MAX_BATCH`` that wait too long, except the ids in ``spare``; how many. In a transaction.

    ``aged_at`` is the moment by which they are too old, or not.
    """
    target, wait_s = settings.fallback, min(settings.fallback_after, settings.max_age)
    if target is None:
        return 0
    waiting = store.backlog.overdue_ids(
        settings.name,
        older_than=aged_at - timedelta(seconds=wait_s),
        exclude_ids=spare,
        exclude_thread=agent_thread(target),
        limit=MAX_BATCH,
    )
    store.backlog.move_to_fallback(dict.fromkeys(waiting, too_old_reason(wait_s)), target, now)
    return len(waiting)
