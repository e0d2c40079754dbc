"""From the outbox to the plugins: claim, send, judge, record; a worker a destination."""

from aintandem_notify.delivery.dispatcher import NOT_CONFIGURED, DestinationStatus, Dispatcher, open_dispatcher
from aintandem_notify.delivery.settings import DestinationSettings
from aintandem_notify.delivery.worker import Deliverer

__all__ = [
    "NOT_CONFIGURED",
    "Deliverer",
    "DestinationSettings",
    "DestinationStatus",
    "Dispatcher",
    "open_dispatcher",
]
