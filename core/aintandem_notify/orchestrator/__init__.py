"""The orchestrator side: authentication, the REST API, and one link a project, watched for as long as wanted.

``watching`` puts it together. ``project`` is one project's life, ``link`` its connection; what their trouble means
and what to do about it are the tables of ``verdicts``, ``retries``, ``states`` and ``heartbeat``.
"""

from aintandem_notify.orchestrator.auth import Session
from aintandem_notify.orchestrator.credentials import Credentials, GivenToken, Login, credentials_of
from aintandem_notify.orchestrator.fleet import Fleet
from aintandem_notify.orchestrator.identifiers import UnusableId, checked_id
from aintandem_notify.orchestrator.kept import MemoryTokens, StoredTokens, TokenStore
from aintandem_notify.orchestrator.link_places import LinkPlaces
from aintandem_notify.orchestrator.project import watch_project
from aintandem_notify.orchestrator.rest import OrchestratorApi
from aintandem_notify.orchestrator.states import ConnectionState
from aintandem_notify.orchestrator.status import ProjectStatus, Unwatched
from aintandem_notify.orchestrator.watch_settings import WatchSettings
from aintandem_notify.orchestrator.watching import open_fleet

__all__ = [
    "ConnectionState",
    "Credentials",
    "Fleet",
    "GivenToken",
    "LinkPlaces",
    "Login",
    "MemoryTokens",
    "OrchestratorApi",
    "ProjectStatus",
    "Session",
    "StoredTokens",
    "TokenStore",
    "UnusableId",
    "Unwatched",
    "WatchSettings",
    "checked_id",
    "credentials_of",
    "open_fleet",
    "watch_project",
]
