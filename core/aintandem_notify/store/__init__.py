"""The durable state: journal, runs, notifications, deliveries and receipts. The only door to SQLAlchemy."""

from aintandem_notify.store.backlog import Backlog, Told
from aintandem_notify.store.database import exists, put_aside
from aintandem_notify.store.deliveries import DeliveryState
from aintandem_notify.store.gates import GateRow, Gates
from aintandem_notify.store.health import WELL, Purpose, StoreState, StoreStatus
from aintandem_notify.store.journal import Changes, Journal, Watched
from aintandem_notify.store.ledger import Entry, Handled, Ledger, Wanted
from aintandem_notify.store.outbox import Claim, Outbox, Queue, Settlement
from aintandem_notify.store.pulse import Pulse, StoreHealth, open_pulse
from aintandem_notify.store.reserve import RESERVE_BYTES
from aintandem_notify.store.retention import WALKS, Limits, Page, Retention, Walk
from aintandem_notify.store.storage import Storage, open_storage
from aintandem_notify.store.store import Store

__all__ = [
    "RESERVE_BYTES",
    "WALKS",
    "WELL",
    "Backlog",
    "Changes",
    "Claim",
    "DeliveryState",
    "Entry",
    "GateRow",
    "Gates",
    "Handled",
    "Journal",
    "Ledger",
    "Limits",
    "Outbox",
    "Page",
    "Pulse",
    "Purpose",
    "Queue",
    "Retention",
    "Settlement",
    "Storage",
    "Store",
    "StoreHealth",
    "StoreState",
    "StoreStatus",
    "Told",
    "Walk",
    "Wanted",
    "Watched",
    "exists",
    "open_pulse",
    "open_storage",
    "put_aside",
]
