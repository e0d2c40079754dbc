"""Outgoing HTTP: the only door to httpx and httpcore, for the orchestrator's REST API and for plugins.

``client`` is what others use, ``answer`` what they get, ``addresses`` decides which addresses may be dialled, and
``transport`` is where httpx lives. It is imported with the first request, so that importing this package costs
nothing.
"""

from aintandem_notify.http_client.answer import HttpAnswer
from aintandem_notify.http_client.client import MAX_BODY, HttpClient

__all__ = ["MAX_BODY", "HttpAnswer", "HttpClient"]
