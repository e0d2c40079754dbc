"""The orchestrator side: authentication, the REST API, and one WebSocket link for each watched project.

``watch.composition`` puts it together. ``watch.project`` keeps one project connected, ``link.websocket`` is its
connection. The decision tables are in ``link``: ``close_codes``, ``reconnect_policy``, ``states``, ``heartbeat``.
"""

from aintandem_notify.orchestrator.auth.credentials import (
    Credentials,
    Login,
    StaticToken,
    credentials_from_config,
    open_orchestrator,
)
from aintandem_notify.orchestrator.auth.login_status import LoginStatus
from aintandem_notify.orchestrator.auth.session import Session
from aintandem_notify.orchestrator.auth.token_store import MemoryTokens, StoredTokens, TokenStore
from aintandem_notify.orchestrator.link.connection_slots import ConnectionSlots
from aintandem_notify.orchestrator.link.reconnect_policy import ConnectionTrouble
from aintandem_notify.orchestrator.link.states import ConnectionState
from aintandem_notify.orchestrator.protocol.identifiers import InvalidId, validate_id
from aintandem_notify.orchestrator.rest.client import OrchestratorApi
from aintandem_notify.orchestrator.watch.composition import open_fleet
from aintandem_notify.orchestrator.watch.fleet import Fleet
from aintandem_notify.orchestrator.watch.project import watch_project
from aintandem_notify.orchestrator.watch.settings import WatchSettings
from aintandem_notify.orchestrator.watch.status import DiscoveryStatus, ProjectStatus, UnwatchedProjects

__all__ = [
    "ConnectionSlots",
    "ConnectionState",
    "ConnectionTrouble",
    "Credentials",
    "DiscoveryStatus",
    "Fleet",
    "InvalidId",
    "Login",
    "LoginStatus",
    "MemoryTokens",
    "OrchestratorApi",
    "ProjectStatus",
    "Session",
    "StaticToken",
    "StoredTokens",
    "TokenStore",
    "UnwatchedProjects",
    "WatchSettings",
    "credentials_from_config",
    "open_fleet",
    "open_orchestrator",
    "validate_id",
    "watch_project",
]
