"""Trying a configuration out without running it: nothing is watched, nothing is stored.

For ``check --connect``, ``test`` and ``plugins list CONFIG``.
"""

from aintandem_notify.diagnostics.instances import bring_up, send_sample, try_all
from aintandem_notify.diagnostics.results import Trial
from aintandem_notify.diagnostics.sample import sample

__all__ = ["Trial", "bring_up", "sample", "send_sample", "try_all"]
