"""Writing a first configuration: for ``aintandem-notify init``.

``draft`` is what was answered and the text that comes of it, ``questions`` what each plugin has to be asked; both
are pure. ``looking`` asks the orchestrator, ``trying`` makes a configuration in memory, ``files`` writes it.
"""

from aintandem_notify.init_wizard.draft import Draft, DraftInstance
from aintandem_notify.init_wizard.dry_run import loaded_of, problem_of
from aintandem_notify.init_wizard.files import in_the_way, write
from aintandem_notify.init_wizard.orchestrator_probe import Refusal, listed_projects, silence_at, url_problem
from aintandem_notify.init_wizard.questions import PLUGINS, PluginQuestions, Question

__all__ = [
    "PLUGINS",
    "Draft",
    "DraftInstance",
    "PluginQuestions",
    "Question",
    "Refusal",
    "in_the_way",
    "listed_projects",
    "loaded_of",
    "problem_of",
    "silence_at",
    "url_problem",
    "write",
]
