"""Asks the orchestrator for its projects, after a login."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aintandem_notify.client import AInTandemClient, ProjectRecord
from aintandem_notify.config.types.addresses import SIMULATOR, base_address, orchestrator_url
from aintandem_notify.errors import (
    AuthenticationFailed,
    Forbidden,
    HttpFailed,
    OrchestratorError,
)
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator.auth.tokens import is_token
from aintandem_notify.orchestrator.protocol.address import api_bases
from aintandem_notify.rules import formats
from aintandem_notify.simulator import DEFAULT_PROJECTS

MAX_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class ProbeFailure:
    """These answers do not give access. ``is_login_refused``: the orchestrator answers, but refuses the login."""

    reason: str
    is_login_refused: bool


def url_problem(url: str) -> str | None:
    """Returns the problem with an orchestrator's URL; None if it is well-formed."""
    try:
        base_address(orchestrator_url(url))
    except ValueError as error:
        return str(error)
    return None


async def connection_problem(url: str) -> str | None:
    """Returns the reason why no server answers at the URL; None if any server does."""
    if url == SIMULATOR:
        return None
    try:
        async with HttpClient() as http:
            await http.request("GET", f"{api_bases(url)[0]}/health", need_body=False)
    except HttpFailed as error:
        return formats.one_line(str(error), MAX_REASON)
    return None


async def probe_projects(
    url: str, username: str, password: str, token: str = ""
) -> Sequence[tuple[str, str]] | ProbeFailure:
    """Returns the ids and names of the projects, after a login or with ``token``."""
    if url == SIMULATOR:
        return [(project, "") for project in DEFAULT_PROJECTS]
    if token and not is_token(token):
        return ProbeFailure("a token is one word of plain letters, digits and signs", is_login_refused=True)
    try:
        async with AInTandemClient(url, token=token or None) as client:
            if not token:
                await client.auth.login(username, password)
            records: Sequence[ProjectRecord] = await client.projects.list()
            if not token:
                await client.auth.logout()
    except (OrchestratorError, HttpFailed) as error:
        reason = formats.one_line(str(error), MAX_REASON)
        return ProbeFailure(reason, is_login_refused=isinstance(error, AuthenticationFailed | Forbidden))
    return [(record.id, record.name or "") for record in records]
