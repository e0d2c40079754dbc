"""The answer to the question whether the agent is well: a state, and the reasons for it.

``health`` finds the answer. Status, readiness, heartbeat, systemd, the log and the agent's own events all show it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

MAX_LISTED_REASONS: Final = 3
"""Number of reasons that a summary spells out; it counts the others."""


class HealthState(StrEnum):
    """The state of the agent, from good to bad."""

    WELL = "well"
    DEGRADED = "degraded"
    """It works, but something that is wanted does not."""
    FAILING = "failing"
    """It cannot do its job until somebody helps: it is not ready, and its heartbeat reports a failure."""


class ReasonId(StrEnum):
    """The kinds of reasons why the agent is not well."""

    STARTING = "starting"
    """It has not connected all projects yet. The agent is not ready; nobody is notified."""
    LOGIN = "login"
    """The orchestrator refuses the credentials."""
    ORCHESTRATOR = "orchestrator"
    """The orchestrator cannot be reached: no project has a link."""
    DISCOVERY = "discovery"
    """The orchestrator's list of projects cannot be read, so new ones are not found."""
    NOTHING_WATCHED = "nothing_watched"
    """A glob matches no project, or every project is gone."""
    LINK = "link"
    """The link of a project is down, or the orchestrator no longer knows the project."""
    CAPACITY = "capacity"
    """Projects that no agent on the store has a place for."""
    DESTINATION = "destination"
    """A destination accepts nothing now."""
    GIVEN_UP = "given_up"
    """Messages to a destination were given up a short time ago, and no fallback took them over."""
    NO_DESTINATION = "no_destination"
    """No destination works."""
    PLUGIN = "plugin"
    """A plugin instance does not run."""
    RELOAD = "reload"
    """The last reload was refused, so the file is not the config in use."""
    STORE = "store"
    """The store does not work."""
    LOOP = "loop"
    """Something blocked the event loop a short time ago."""


UNREADY_BY_DEFAULT: Final = (
    ReasonId.LOGIN,
    ReasonId.ORCHESTRATOR,
    ReasonId.NOTHING_WATCHED,
    ReasonId.NO_DESTINATION,
    ReasonId.STORE,
)
"""The reasons with which the agent is failing, unless ``[health] unready`` names others."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason why the agent is not well: a sentence, true since ``since`` (aware UTC).

    ``subject`` is the project, destination or plugin instance that the reason is about; None for the whole agent.
    """

    id: ReasonId
    text: str
    since: datetime
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The health of the agent at one moment; the worst reasons come first."""

    state: HealthState = HealthState.WELL
    reasons: tuple[Reason, ...] = ()

    @property
    def is_ready(self) -> bool:
        """False while the agent is failing or still starting."""
        return self.state is not HealthState.FAILING and not self.is_starting

    @property
    def is_starting(self) -> bool:
        """True until all projects have been connected once, or the trouble of those that are not is known."""
        return any(reason.id is ReasonId.STARTING for reason in self.reasons)

    def summary(self) -> str:
        """Returns one line: the state and the first reasons."""
        listed = [reason.text for reason in self.reasons[:MAX_LISTED_REASONS]]
        if (unlisted := len(self.reasons) - len(listed)) > 0:
            listed.append(f"and {unlisted} more")
        return f"{self.state.value}: {'; '.join(listed)}" if listed else self.state.value


WELL: Final = Health()
