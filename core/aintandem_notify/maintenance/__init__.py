"""Background tasks for the store: ``pruning`` deletes old history, ``store_trouble`` reports trouble and ends the
agent when the store is damaged.
"""

from aintandem_notify.maintenance.pruning import open_pruning
from aintandem_notify.maintenance.store_trouble import watch_trouble

__all__ = ["open_pruning", "watch_trouble"]
