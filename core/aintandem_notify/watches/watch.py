"""A watch of the config, ready to be asked about runs and projects."""

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from hashlib import blake2b
from typing import Final

from aintandem_notify.config.models import Config
from aintandem_notify.config.watch_config import WatchConfig, WatchKind
from aintandem_notify.domain.events import Family
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run, RunState

_ALL_KINDS: Final = (Family.TASK, Family.WORKFLOW, Family.SANDBOX)
_KINDS_WITH_SIGNS: Final = (Family.TASK, Family.WORKFLOW)
"""A sandbox sends nothing between its start and its end: only a watch that names sandboxes calls it stalled."""

_STATES: Final = {
    WatchKind.STALLED: frozenset({RunState.RUNNING}),
    WatchKind.OVERDUE: frozenset({RunState.RUNNING, RunState.PAUSED}),
    WatchKind.QUEUED: frozenset({RunState.QUEUED}),
    WatchKind.PAUSED: frozenset({RunState.PAUSED}),
}
"""By kind: the states in which a run has a timer."""


class Watch:
    """One watch; ``hash`` changes with its keys, and is the same in every process."""

    def __init__(self, config: WatchConfig) -> None:
        self.config: Final = config
        self.name: Final = config.name
        self.kind: Final = config.kind
        self.hash: Final = blake2b(repr(config).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        self._is_for_project = _matcher(config.projects)
        self._states = _STATES.get(config.kind, frozenset())
        globs = {Family.TASK: config.tasks, Family.WORKFLOW: config.workflows, Family.SANDBOX: config.sandboxes}
        if not any(globs.values()):
            kinds = _KINDS_WITH_SIGNS if config.kind is WatchKind.STALLED else _ALL_KINDS
            self._matchers = {kind: _matcher(None) for kind in kinds}
        else:
            self._matchers = {kind: _matcher(patterns) for kind, patterns in globs.items() if patterns}

    @property
    def has_timers(self) -> bool:
        """True if the runs of the watch have timers."""
        return bool(self._states)

    @property
    def about(self) -> str:
        """The kind of all its runs; empty if they are of several."""
        return next(iter(self._matchers)).value if len(self._matchers) == 1 else ""

    @property
    def pattern(self) -> str:
        """Its globs for people, with commas; empty for all runs."""
        config = self.config
        return ", ".join((*(config.tasks or ()), *(config.workflows or ()), *(config.sandboxes or ())))

    def is_for_project(self, project: Project) -> bool:
        """True if the watch is for the project."""
        return self._is_for_project((project.id, project.name))

    def is_for(self, run: Run, project: Project) -> bool:
        """True if the watch is about the run, in any state."""
        matches = self._matchers.get(run.kind)
        if matches is None or not self.is_for_project(project):
            return False
        return matches(filter(None, (run.name, run.id, run.workflow_id if run.kind is Family.WORKFLOW else None)))

    def times(self, run: Run) -> bool:
        """True if a run of the watch has a timer in this state."""
        return run.state in self._states


def watches_of(config: Config) -> tuple[Watch, ...]:
    """The watches of a config, in their order."""
    return tuple(map(Watch, config.watches))


def _matcher(globs: Sequence[str] | None) -> Callable[[Iterable[str]], bool]:
    """Returns a function that is true if a glob matches one of the names; always true without globs."""
    if globs is None:
        return lambda _names: True
    match = re.compile("|".join(translate(glob) for glob in globs)).match
    return lambda names: any(map(match, names))
