"""Collects the facts from which the health of the agent is judged."""

from dataclasses import dataclass
from datetime import datetime

from aintandem_notify.agent.agent import Agent
from aintandem_notify.delivery import Dispatcher
from aintandem_notify.health.conditions import Facts
from aintandem_notify.orchestrator import Session
from aintandem_notify.plugins import PluginHost
from aintandem_notify.store import Storage, StoreLiveness


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFacts:
    """Reads the state of the agent's parts from memory: cheap, and possible while the store hangs."""

    agent: Agent
    session: Session
    host: PluginHost
    dispatcher: Dispatcher
    storage: Storage
    liveness: StoreLiveness
    started_at: datetime

    def __call__(self) -> Facts:
        """Returns the facts of this moment."""
        agent, instances = self.agent, self.agent.loaded.config.instances.values()
        destinations = tuple(instance.name for instance in instances if instance.delivers)
        return Facts(
            started_at=self.started_at,
            projects=agent.projects(),
            wanted=agent.wanted_projects(),
            discovery=agent.discovery(),
            login=self.session.login_status,
            unwatched=agent.unwatched(),
            configured=destinations or tuple(instance.name for instance in instances),
            destinations=self.dispatcher.conditions(),
            plugins=self.host.snapshot(),
            store=self.liveness.latest(),
            store_status=self.storage.status,
            refused_reload=agent.refused_reload(),
            last_block=agent.last_block(),
        )
