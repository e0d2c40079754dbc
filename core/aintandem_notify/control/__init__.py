"""What the outside can learn and ask of a running agent: how it does, and to act on its deliveries."""

from aintandem_notify.control.heartbeat import open_heartbeat
from aintandem_notify.control.wellness import trouble

__all__ = ["open_heartbeat", "trouble"]
