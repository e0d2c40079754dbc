"""Checks that the orchestrator answers, accepts the login and has the configured projects."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import trio

from aintandem_notify.config import Config, ProjectConfig
from aintandem_notify.diagnostics.results import CheckResult
from aintandem_notify.errors import (
    AInTandemNotifyError,
    AuthenticationFailed,
    Forbidden,
    HttpFailed,
    NotFound,
)
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.log import describe_error
from aintandem_notify.orchestrator import InvalidId, OrchestratorApi, Session, credentials_from_config

ANSWER_TIMEOUT_S: Final = 30.0
"""Seconds that the orchestrator gets for all requests together."""


async def check_orchestrator(config: Config, http: HttpClient) -> CheckResult:
    """Logs in, looks for the configured projects, and logs out again."""
    orchestrator = config.orchestrator
    if orchestrator.embedded:
        return CheckResult("orchestrator", is_ok=True, detail="the embedded simulator")
    clock = SystemClock()
    session = Session(
        orchestrator.url,
        credentials_from_config(orchestrator),
        http=http,
        clock=clock,
        chance=random.random,
        announce=lambda event: None,  # noqa: ARG005
    )
    try:
        with trio.fail_after(ANSWER_TIMEOUT_S):
            await session.token()  # raises at once; requests of the API would retry
            matches = await _find_projects(config.projects, OrchestratorApi(session, http, clock))
            await session.logout()
    except trio.TooSlowError:
        return CheckResult("orchestrator", is_ok=False, detail=f"no answer within {ANSWER_TIMEOUT_S:g} s")
    except AInTandemNotifyError as error:
        return CheckResult("orchestrator", is_ok=False, detail=describe_error(error) + _advice(error))
    return CheckResult("orchestrator", is_ok=not matches.unknown, detail=matches.describe())


def _advice(error: AInTandemNotifyError) -> str:
    """Returns a hint at the config, if the config may be wrong."""
    match error:
        case AuthenticationFailed() | Forbidden():
            return "; see the login in [orchestrator]"
        case HttpFailed():
            return "; is url in [orchestrator] right, and is it running?"
        case NotFound():
            return "; is url in [orchestrator] that of an orchestrator?"
        case _:
            return ""


@dataclass(frozen=True, slots=True)
class _ProjectMatches:
    """The configured projects that exist. An unknown id is an error; a glob may match projects later."""

    ids: tuple[str, ...]
    unknown: tuple[str, ...]
    empty_globs: tuple[str, ...]

    def describe(self) -> str:
        if self.unknown:
            return f"it knows no project {', '.join(self.unknown)}"
        count = "1 project" if len(self.ids) == 1 else f"{len(self.ids)} projects"
        return "; ".join([f"{count} to watch", *(f"none matches {glob} yet" for glob in self.empty_globs)])


async def _find_projects(entries: Sequence[ProjectConfig], api: OrchestratorApi) -> _ProjectMatches:
    listed = [record.id for record in await api.projects()]
    ids: dict[str, None] = {}
    unknown, empty_globs = [], []
    for entry in entries:
        if not entry.is_glob:
            if await _exists(entry.id, listed, api):
                ids[entry.id] = None
            else:
                unknown.append(entry.id)
        elif matching := [name for name in listed if fnmatchcase(name, entry.id)]:
            ids.update(dict.fromkeys(matching))
        else:
            empty_globs.append(entry.id)
    return _ProjectMatches(tuple(ids), tuple(unknown), tuple(empty_globs))


async def _exists(project_id: str, listed: Sequence[str], api: OrchestratorApi) -> bool:
    if project_id in listed:
        return True
    try:
        await api.project(project_id)
    except (NotFound, InvalidId):
        return False
    return True
