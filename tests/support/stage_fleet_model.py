"""The model of the stages for several agents on one store: who watches a project, and who has died.

Chance decides which agent looks first, and at which statement one dies. So the model is told of each transaction
that was committed, and of its agent. It predicts all messages, and demands that nothing due is left lying.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from support.stage_model import StageModel
from support.stage_model_words import Happening, Hush, Item, Setup

LINKED = "sales"
"""The only project whose link breaks: failures of two agents that wait would be due at the same moment."""

PROMPT = timedelta(milliseconds=1)
"""Clocks of two agents differ by their rounding."""


@dataclass(frozen=True)
class Began:
    """The agent has joined the others."""

    agent: str
    at: datetime


@dataclass(frozen=True)
class Died:
    agent: str
    at: datetime


@dataclass(frozen=True)
class Watches:
    """The agent watches these projects from now on."""

    agent: str
    projects: tuple[str, ...]
    at: datetime


@dataclass(frozen=True)
class Fired:
    """The agent has released all that was due."""

    agent: str
    at: datetime


@dataclass(frozen=True)
class Stored:
    """The agent has stored these events."""

    agent: str
    happenings: tuple[Happening, ...]
    at: datetime


@dataclass(frozen=True)
class Configured:
    """All agents have read another config."""

    setup: Setup
    at: datetime


@dataclass(frozen=True)
class Silenced:
    hush: Hush
    at: datetime


@dataclass(frozen=True)
class Unsilenced:
    """Ended by hand."""

    silence: str
    at: datetime


@dataclass(frozen=True)
class Linked:
    up: bool
    at: datetime


@dataclass(frozen=True)
class Waited:
    """The agents had nothing more to do until then."""

    at: datetime


Occurrence = Began | Died | Watches | Fired | Stored | Configured | Silenced | Unsilenced | Linked | Waited


@dataclass
class FleetModel(StageModel):
    agent: str = ""
    """The one that releases."""
    begun: dict[str, datetime] = field(default_factory=dict)
    """The living agents."""
    owners: dict[str, str] = field(default_factory=dict)

    def may_leave(self, item: Item) -> bool:
        """Failures settle where their project is watched."""
        return item.stage != "settle" or self.owners[item.event.project] == self.agent

    def is_caught_up(self, project: str) -> bool:
        return self.caught_up or project != LINKED

    def patient_since(self, project: str) -> datetime:
        return self.begun[self.owners[project]]

    def follow(self, history: Sequence[Occurrence]) -> None:
        for occurrence in history:
            self.expect_nothing_left(occurrence.at)
            self.now = max(self.now, occurrence.at)
            self.follow_one(occurrence)

    def follow_one(self, occurrence: Occurrence) -> None:
        match occurrence:
            case Began(agent, at):
                self.begun[agent] = at
                self.use(self.setup, self.now)
            case Died(agent):
                del self.begun[agent]
            case Watches(agent, projects):
                self.owners |= dict.fromkeys(projects, agent)
            case Fired(agent):
                self.agent = agent
                self.fire()
            case Stored(_, happenings):
                self.take(happenings)
            case Configured(setup):
                self.use(setup, self.now)
            case Silenced(hush):
                self.silences.append(hush)
            case Unsilenced(silence):
                self.take_away(silence)
            case Linked(up):
                self.caught_up = up
            case Waited():
                pass

    def expect_nothing_left(self, now: datetime) -> None:
        """Before time goes on until ``now``, each living agent releases all that is due."""
        if now - self.now <= PROMPT:
            return
        left = [
            item
            for item in self.held()
            if item.due < now - PROMPT
            and (self.owners[item.event.project] in self.begun if item.stage == "settle" else self.begun)
        ]
        assert not left, f"{now}: nobody has released {left}"
