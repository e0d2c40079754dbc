"""Outgoing HTTP, for the orchestrator's REST API and for plugins. Only this package imports httpx and httpcore.

``client`` has the public client, ``answer`` its result. ``addresses`` decides which addresses may be dialled.
``transport`` is the part that uses httpx. It is imported with the first request, so that importing this package
costs nothing.
"""

from aintandem_notify.http_client.answer import HttpAnswer
from aintandem_notify.http_client.client import MAX_BODY, HttpClient

__all__ = ["MAX_BODY", "HttpAnswer", "HttpClient"]
