"""The durable state: journal, runs, notifications, deliveries and receipts. The only door to SQLAlchemy."""

from aintandem_notify.store.engine.database import latest_quarantined_name, store_exists
from aintandem_notify.store.engine.reserve import RESERVE_BYTES
from aintandem_notify.store.health import WELL, Purpose, StoreState, StoreStatus
from aintandem_notify.store.liveness import StoreHealth, StoreLiveness, open_liveness
from aintandem_notify.store.storage import Storage, open_storage
from aintandem_notify.store.store import Store
from aintandem_notify.store.tables.backlog import Backlog, Told
from aintandem_notify.store.tables.delivery_admin import BulkResult, DeliveryFilter, DeliveryQueries, DeliveryRow
from aintandem_notify.store.tables.delivery_states import DeliveryState
from aintandem_notify.store.tables.gates import GateRow, Gates
from aintandem_notify.store.tables.journal import Changes, Journal, Watched
from aintandem_notify.store.tables.outbox import Claim, Outbox, Queue, Settlement
from aintandem_notify.store.tables.retention import WALKS, Limits, Page, Retention, Walk

__all__ = [
    "RESERVE_BYTES",
    "WALKS",
    "WELL",
    "Backlog",
    "BulkResult",
    "Changes",
    "Claim",
    "DeliveryFilter",
    "DeliveryQueries",
    "DeliveryRow",
    "DeliveryState",
    "GateRow",
    "Gates",
    "Journal",
    "Limits",
    "Outbox",
    "Page",
    "Purpose",
    "Queue",
    "Retention",
    "Settlement",
    "Storage",
    "Store",
    "StoreHealth",
    "StoreLiveness",
    "StoreState",
    "StoreStatus",
    "Told",
    "Walk",
    "Watched",
    "latest_quarantined_name",
    "open_liveness",
    "open_storage",
    "store_exists",
]
