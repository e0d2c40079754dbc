"""Writes a first configuration, for ``aintandem-notify init``.

``questions`` lists the questions of each plugin, ``presets`` the rules to pick from. ``draft`` holds the answers
and gives the text of the file. These are pure. ``orchestrator_probe`` asks the orchestrator, ``dry_run`` loads a
draft in memory, ``files`` writes it.
"""

from aintandem_notify.init_wizard.draft import Draft, DraftInstance
from aintandem_notify.init_wizard.dry_run import first_problem, load_draft
from aintandem_notify.init_wizard.files import conflicting_files, write
from aintandem_notify.init_wizard.orchestrator_probe import (
    ProbeFailure,
    connection_problem,
    probe_projects,
    url_problem,
)
from aintandem_notify.init_wizard.presets import PRESETS, Preset
from aintandem_notify.init_wizard.questions import PLUGINS, PluginQuestions, Question
from aintandem_notify.init_wizard.time_zones import is_time_zone, machine_time_zone

__all__ = [
    "PLUGINS",
    "PRESETS",
    "Draft",
    "DraftInstance",
    "PluginQuestions",
    "Preset",
    "ProbeFailure",
    "Question",
    "conflicting_files",
    "connection_problem",
    "first_problem",
    "is_time_zone",
    "load_draft",
    "machine_time_zone",
    "probe_projects",
    "url_problem",
    "write",
]
