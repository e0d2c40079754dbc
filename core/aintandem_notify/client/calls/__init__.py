"""The REST calls by topic: ``client.projects``, ``client.tasks``, ``client.workflows``, ``client.sandboxes``.

What only reads is tried again three times, from one second, doubling; what changes something only when
the request surely was not sent.
"""

from aintandem_notify.client.calls.projects import Projects
from aintandem_notify.client.calls.sandboxes import Sandboxes
from aintandem_notify.client.calls.tasks import Tasks
from aintandem_notify.client.calls.workflows import Workflows

__all__ = ["Projects", "Sandboxes", "Tasks", "Workflows"]
