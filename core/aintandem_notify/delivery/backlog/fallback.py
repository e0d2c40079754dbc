"""Selects the deliveries that the fallback destination takes over: dead ones, and ones that wait too long."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.delivery.settings import DestinationSettings
from aintandem_notify.delivery.settlement import too_old_reason
from aintandem_notify.domain.notification import agent_thread
from aintandem_notify.store import DeliveryState, Settlement, Store

MAX_BATCH: Final = 500
"""Maximum number of deliveries that one transaction takes over."""


MAX_TRY_S: Final = 600.0
"""Seconds for which a delivery that waits too long stays behind one of its run that is under way.

If that one fails, both go to the fallback in their order. Longer than a plugin's call takes, unless it is stuck.
"""


def select_for_fallback(settings: DestinationSettings, settlements: Sequence[Settlement]) -> dict[int, str]:
    """Returns the deliveries that have just died and go to the fallback, each with the reason of its death.

    Excludes notices of the fallback's own trouble: a destination never reports about itself.
    """
    if settings.fallback is None:
        return {}
    own_trouble = agent_thread(settings.fallback)
    return {
        settlement.claim.id: settlement.reason or ""
        for settlement in settlements
        if settlement.state is DeliveryState.DEAD and settlement.claim.notification.thread != own_trouble
    }


def take_over_waiting(
    store: Store,
    settings: DestinationSettings,
    now: datetime,
    exclude_ids: Collection[int],
    *,
    age_measured_at: datetime,
) -> int:
    """Hands over up to ``MAX_BATCH`` deliveries that wait too long. Returns their number. In a transaction.

    Leaves ``exclude_ids`` alone, and for ``MAX_TRY_S`` those behind them in a run. ``age_measured_at``: the time
    up to which the age of a delivery counts.
    """
    target, wait_s = settings.fallback, min(settings.fallback_after, settings.max_age)
    if target is None:
        return 0
    older_than = age_measured_at - timedelta(seconds=wait_s)
    waiting = store.backlog.overdue_ids(
        settings.name,
        older_than=older_than,
        behind_older_than=older_than - timedelta(seconds=MAX_TRY_S),
        exclude_ids=exclude_ids,
        exclude_thread=agent_thread(target),
        limit=MAX_BATCH,
    )
    store.backlog.move_to_fallback(dict.fromkeys(waiting, too_old_reason(wait_s)), target, now)
    return len(waiting)
