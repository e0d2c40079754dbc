"""The agent: the process that ``aintandem-notify run`` starts.

``process`` is the entry, ``composition`` builds and connects all parts, ``agent`` starts, reloads and stops them.
"""

from aintandem_notify.agent.process import EXIT_GRACE_S, run

__all__ = ["EXIT_GRACE_S", "run"]
