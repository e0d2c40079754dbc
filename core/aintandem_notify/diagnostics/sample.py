"""Builds a made-up notification as the rules would build a real one."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from aintandem_notify.config import Config, RuleConfig
from aintandem_notify.domain.events import EVENT_TYPES, Family
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.samples import SAMPLE_FIELDS, sample_event, sample_run
from aintandem_notify.rules import Router

TITLE_PREFIX: Final = "Test: "
"""The beginning of the title, so that nobody takes it for a real problem."""

OTHER_INSTANCE: Final = "example"
"""The instance in made-up events of the agent.

No instance can have this name, and none is notified about itself.
"""


def build_sample(config: Config, destination: str, event_type: str, now: datetime) -> Notification:
    """Returns a made-up notification for ``destination``, with the default texts of this event type."""
    project = next((entry for entry in config.projects if not entry.is_glob), None)
    project_id = project.id if project else "project-123"
    where: Project | None = Project(id=project_id, name=(project.name if project else None) or project_id)
    about = {"projectId": project_id}
    if EVENT_TYPES[event_type].family is Family.AGENT and "projectId" not in SAMPLE_FIELDS[event_type]:
        where, about = None, {"instance": OTHER_INSTANCE} if "instance" in SAMPLE_FIELDS[event_type] else {}
    event = sample_event(event_type, timestamp=now, **about)
    rule = RuleConfig(name="test", events=(event_type,), notify=(destination,))
    router = Router(replace(config, rules=(rule,)))
    routes = router.route(event, sample_run(event), where, now)
    # The event may also be routed to other instances.
    notification = next(routed.notification for routed in routes if destination in routed.destinations)
    return notification.model_copy(update={"title": TITLE_PREFIX + notification.title})
