"""A made-up notification as the rules would make it."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from aintandem_notify.config import Config, RuleConfig
from aintandem_notify.domain.events import EVENT_TYPES, Family
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.samples import SAMPLE_FIELDS, sample_event, sample_run
from aintandem_notify.rules import Router

TITLE_PREFIX: Final = "Test: "
"""What the title begins with, so that nobody runs to mend anything."""

OTHER_INSTANCE: Final = "example"
"""The instance that events of the agent are about; none is told of itself, and none can be called this."""


def build_sample(config: Config, destination: str, event_type: str, now: datetime) -> Notification:
    """A made-up notification for ``destination``, with the texts that an event of this type has by default."""
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
    # Other instances may have events of their own that this one belongs to.
    notification = next(routed.notification for routed in routes if destination in routed.destinations)
    return notification.model_copy(update={"title": TITLE_PREFIX + notification.title})
