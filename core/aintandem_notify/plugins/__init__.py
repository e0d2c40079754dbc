"""Plugins: finding them, keeping each running by itself, and calling their hooks."""

from aintandem_notify.plugins.border import DeadlineExceeded
from aintandem_notify.plugins.discovery.catalog import Catalog, FilePolicy
from aintandem_notify.plugins.discovery.descriptor import PluginDescriptor
from aintandem_notify.plugins.runtime.calls import Delivered, DeliveryResult, HookFailure
from aintandem_notify.plugins.runtime.host import PluginHost, open_host
from aintandem_notify.plugins.runtime.states import InstanceState, InstanceStatus

__all__ = [
    "Catalog",
    "DeadlineExceeded",
    "Delivered",
    "DeliveryResult",
    "FilePolicy",
    "HookFailure",
    "InstanceState",
    "InstanceStatus",
    "PluginDescriptor",
    "PluginHost",
    "open_host",
]
