"""The agent: its process, what it consists of, and what it does with that."""

from aintandem_notify.agent.process import EXIT_GRACE_S, run

__all__ = ["EXIT_GRACE_S", "run"]
