"""Plugins: finding them, keeping each running by itself, and calling their hooks."""

from aintandem_notify.plugins.catalog import Catalog
from aintandem_notify.plugins.found import FoundPlugin

__all__ = ["Catalog", "FoundPlugin"]
