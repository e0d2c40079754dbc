"""What looks after the store beside the work: tells of its trouble, and ends the agent when it is damaged."""

from aintandem_notify.upkeep.trouble import watch_trouble

__all__ = ["watch_trouble"]
