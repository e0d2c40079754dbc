"""The outcome of reading the config again: taken with its changes, or refused with the reasons."""

from dataclasses import dataclass
from datetime import datetime

from aintandem_notify.errors import Problem


class ReloadAbandonedError(Exception):
    """The agent stops, so it reads no config any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadResult:
    """The changes of one reload, or the reasons for its refusal.

    ``config`` is the file, and ``problems`` are the mistakes in it, without secrets. ``restart_needed`` names the
    tables and keys whose change only a restart applies. ``restarted`` has the instances that changed, and failed
    ones that are tried again. ``changed`` names the tables with a change, as ``[[rules]]``, but none of instances.
    """

    at: datetime
    config: str
    problems: tuple[Problem, ...] = ()
    restart_needed: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    projects_added: tuple[str, ...] = ()
    projects_removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def is_taken(self) -> bool:
        """True if the file is now the config in use."""
        return not self.problems and not self.restart_needed

    def refusal(self) -> str | None:
        """Returns the reason for the refusal as one line; None if the reload was taken."""
        if self.restart_needed:
            return f"a restart is needed for {', '.join(self.restart_needed)}"
        if not self.problems:
            return None
        more = len(self.problems) - 1
        return self.problems[0].describe(self.config) + (f" (and {more} more)" if more else "")


@dataclass(frozen=True, slots=True)
class RefusedReload:
    """The reason of the last reload, if it was refused: the file differs from the config in use.

    ``since``: the time of the first of the refused reloads in a row (aware UTC).
    """

    reason: str
    since: datetime

    @classmethod
    def after(cls, result: ReloadResult, before: "RefusedReload | None") -> "RefusedReload | None":
        """Returns the refused reload after this result; None if it was taken."""
        reason = result.refusal()
        return None if reason is None else cls(reason, result.at if before is None else before.since)
