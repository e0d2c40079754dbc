"""Plugins: discovery, one supervisor for each instance, and calls of their hooks.

``discovery`` finds and imports plugins and checks their conventions; ``runtime`` runs their instances;
``border`` turns everything that plugin code raises or returns into exceptions and JSON values of our own.
"""

from aintandem_notify.plugins.border import DeadlineExceeded
from aintandem_notify.plugins.discovery.catalog import Catalog, FilePolicy
from aintandem_notify.plugins.discovery.descriptor import PluginDescriptor
from aintandem_notify.plugins.runtime.calls import DeliveryResult
from aintandem_notify.plugins.runtime.host import PluginHost, open_host
from aintandem_notify.plugins.runtime.states import InstanceState, InstanceStatus

__all__ = [
    "Catalog",
    "DeadlineExceeded",
    "DeliveryResult",
    "FilePolicy",
    "InstanceState",
    "InstanceStatus",
    "PluginDescriptor",
    "PluginHost",
    "open_host",
]
