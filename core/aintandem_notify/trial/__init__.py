"""Trying a configuration out without running it: nothing is watched, nothing is stored.

For ``check --connect``, ``test`` and ``plugins list CONFIG``.
"""

from aintandem_notify.trial.answers import Trial
from aintandem_notify.trial.instances import bring_up, send_sample, try_all
from aintandem_notify.trial.sample import sample

__all__ = ["Trial", "bring_up", "sample", "send_sample", "try_all"]
