"""The REST calls by topic: ``client.projects``, ``client.tasks``, ``client.workflows``, ``client.sandboxes``.

Calls that only read are retried three times, after one second and then twice as long each time. Calls that change
something are retried only if the request certainly was not sent.
"""

from aintandem_notify.client.calls.projects import Projects
from aintandem_notify.client.calls.sandboxes import Sandboxes
from aintandem_notify.client.calls.tasks import Tasks
from aintandem_notify.client.calls.workflows import Workflows

__all__ = ["Projects", "Sandboxes", "Tasks", "Workflows"]
