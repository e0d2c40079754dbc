"""Tries a configuration without running it: nothing is watched, nothing is stored.

For ``check --connect``, ``test``, ``init`` and ``plugins list CONFIG``.
"""

from aintandem_notify.diagnostics.instances import check_all, send_sample, start_instances
from aintandem_notify.diagnostics.results import CheckResult
from aintandem_notify.diagnostics.sample import Sample, build_sample, choose_sample

__all__ = [
    "CheckResult",
    "Sample",
    "build_sample",
    "check_all",
    "choose_sample",
    "send_sample",
    "start_instances",
]
