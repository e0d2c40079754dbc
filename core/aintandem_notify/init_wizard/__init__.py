"""Writing a first configuration: for ``aintandem-notify init``.

``draft`` is what was answered and the text that comes of it, ``questions`` what each plugin has to be asked; both
are pure. ``looking`` asks the orchestrator, ``trying`` makes a configuration in memory, ``files`` writes it.
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
from aintandem_notify.init_wizard.questions import PLUGINS, PluginQuestions, Question

__all__ = [
    "PLUGINS",
    "Draft",
    "DraftInstance",
    "PluginQuestions",
    "ProbeFailure",
    "Question",
    "conflicting_files",
    "connection_problem",
    "first_problem",
    "load_draft",
    "probe_projects",
    "url_problem",
    "write",
]
