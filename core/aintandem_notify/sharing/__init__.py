"""Several agents on one store: keeps this agent's membership and shares the wanted projects among the agents."""

from aintandem_notify.sharing.lease import LeaseHolder, open_membership
from aintandem_notify.sharing.project_assignment import open_sharing
from aintandem_notify.sharing.settings import (
    address_hash_of,
    configured_destinations,
    node_name,
    projects_hash_of,
)

__all__ = [
    "LeaseHolder",
    "address_hash_of",
    "configured_destinations",
    "node_name",
    "open_membership",
    "open_sharing",
    "projects_hash_of",
]
