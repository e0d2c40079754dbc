"""Several agents on one store: being one of them, and which of the wanted projects are this one's."""

from aintandem_notify.sharing.lease import Member, open_membership
from aintandem_notify.sharing.project_assignment import open_sharing
from aintandem_notify.sharing.settings import configured, entries_of, node_name, place_of

__all__ = ["Member", "configured", "entries_of", "node_name", "open_membership", "open_sharing", "place_of"]
