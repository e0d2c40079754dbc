"""Plays scenarios for ``aintandem-notify rules test``: events with times, and the notifications that they lead to.

A scenario is played by the agent's own rules, stages and ingest on a store in memory, and at a time of its own:
nothing is sent, and nobody waits.
"""

from aintandem_notify.scenarios.comparison import Failure, describe_untold
from aintandem_notify.scenarios.moments import show_moment
from aintandem_notify.scenarios.results import PlayedScenario, ScenarioResult, run_file
from aintandem_notify.scenarios.timeline import Entry, Notified, Timeline

__all__ = [
    "Entry",
    "Failure",
    "Notified",
    "PlayedScenario",
    "ScenarioResult",
    "Timeline",
    "describe_untold",
    "run_file",
    "show_moment",
]
