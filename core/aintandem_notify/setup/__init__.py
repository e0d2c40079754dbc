"""Writing a first configuration: for ``aintandem-notify init``.

``draft`` is what was answered and the text that comes of it, ``questions`` what each plugin has to be asked; both
are pure. ``looking`` asks the orchestrator, ``trying`` makes a configuration in memory, ``files`` writes it.
"""

from aintandem_notify.setup.draft import Draft, Instance
from aintandem_notify.setup.files import in_the_way, write
from aintandem_notify.setup.looking import Refusal, listed_projects, silence_at, url_problem
from aintandem_notify.setup.questions import PLUGINS, PluginQuestions, Question
from aintandem_notify.setup.trying import loaded_of, problem_of

__all__ = [
    "PLUGINS",
    "Draft",
    "Instance",
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
