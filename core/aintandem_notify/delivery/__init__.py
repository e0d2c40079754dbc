"""Delivers from the outbox to the plugins. One worker per destination claims, sends, judges and records.

``dispatcher`` runs the workers and is the entry for others. ``worker`` is the loop of one destination. ``judge``
and ``settlement`` decide about a delivery after a try, ``gate`` about its destination. ``backlog`` looks
after deliveries that wait too long.
"""

from aintandem_notify.delivery.dispatcher import (
    NOT_CONFIGURED,
    DestinationCondition,
    DestinationStatus,
    Dispatcher,
    open_dispatcher,
)
from aintandem_notify.delivery.settings import Deliverer, DestinationSettings

__all__ = [
    "NOT_CONFIGURED",
    "Deliverer",
    "DestinationCondition",
    "DestinationSettings",
    "DestinationStatus",
    "Dispatcher",
    "open_dispatcher",
]
