"""What the orchestrator says to a login: its projects, or why there are none to be had."""

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

LONGEST_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class ProbeFailure:
    """What was answered cannot be used; ``is_login``: the address can, but not the login."""

    reason: str
    is_login: bool


def url_problem(url: str) -> str | None:
    """What is wrong with the form of an orchestrator's address; None if nothing is."""
    try:
        base_address(orchestrator_url(url))
    except ValueError as error:
        return str(error)
    return None


async def connection_problem(url: str) -> str | None:
    """Why nobody answers at the address; None when somebody does, whoever it is."""
    if url == SIMULATOR:
        return None
    try:
        async with HttpClient() as http:
            await http.request("GET", f"{api_bases(url)[0]}/health", need_body=False)
    except HttpFailed as error:
        return formats.one_line(str(error), LONGEST_REASON)
    return None


async def probe_projects(
    url: str, username: str, password: str, token: str = ""
) -> Sequence[tuple[str, str]] | ProbeFailure:
    """The projects' ids and names, after a login, or with ``token`` in place of one."""
    if url == SIMULATOR:
        return [(project, "") for project in DEFAULT_PROJECTS]
    if token and not is_token(token):
        return ProbeFailure("a token is one word of plain letters, digits and signs", is_login=True)
    try:
        async with AInTandemClient(url, token=token or None) as client:
            if not token:
                await client.auth.login(username, password)
            records: Sequence[ProjectRecord] = await client.projects.list()
            if not token:
                await client.auth.logout()
    except (OrchestratorError, HttpFailed) as error:
        reason = formats.one_line(str(error), LONGEST_REASON)
        return ProbeFailure(reason, is_login=isinstance(error, AuthenticationFailed | Forbidden))
    return [(record.id, record.name or "") for record in records]
