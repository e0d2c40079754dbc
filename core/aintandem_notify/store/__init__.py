"""The durable state: journal, runs, notifications, deliveries and receipts. Only this package uses SQLAlchemy."""

from aintandem_notify.store.engine.database import latest_quarantined_name, store_exists
from aintandem_notify.store.engine.reserve import RESERVE_BYTES
from aintandem_notify.store.health import WELL, StoreState, StoreStatus, TransactionPurpose
from aintandem_notify.store.liveness import LivenessReport, StoreLiveness, open_liveness
from aintandem_notify.store.probe import probe_store
from aintandem_notify.store.storage import Storage, open_storage
from aintandem_notify.store.store import Store
from aintandem_notify.store.tables.backlog import Backlog, BacklogSummary
from aintandem_notify.store.tables.delivery_admin import (
    BulkResult,
    DeliveryFilter,
    DeliveryQueries,
    DeliveryRow,
    GivenUp,
)
from aintandem_notify.store.tables.delivery_states import DeliveryState
from aintandem_notify.store.tables.gates import GateRow, Gates
from aintandem_notify.store.tables.journal import Journal, JournalChanges, WatchProgress
from aintandem_notify.store.tables.outbox import Claim, Outbox, QueueStats, Settlement
from aintandem_notify.store.tables.retention import PRUNE_STEPS, PruneLimits, PruneResult, PruneStep, Retention

__all__ = [
    "PRUNE_STEPS",
    "RESERVE_BYTES",
    "WELL",
    "Backlog",
    "BacklogSummary",
    "BulkResult",
    "Claim",
    "DeliveryFilter",
    "DeliveryQueries",
    "DeliveryRow",
    "DeliveryState",
    "GateRow",
    "Gates",
    "GivenUp",
    "Journal",
    "JournalChanges",
    "LivenessReport",
    "Outbox",
    "PruneLimits",
    "PruneResult",
    "PruneStep",
    "QueueStats",
    "Retention",
    "Settlement",
    "Storage",
    "Store",
    "StoreLiveness",
    "StoreState",
    "StoreStatus",
    "TransactionPurpose",
    "WatchProgress",
    "latest_quarantined_name",
    "open_liveness",
    "open_storage",
    "probe_store",
    "store_exists",
]
