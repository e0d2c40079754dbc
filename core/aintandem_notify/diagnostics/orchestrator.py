"""Checks that the orchestrator answers, accepts the login, knows the projects, and opens their sockets."""

import random
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

import trio

from aintandem_notify.config import Config, ProjectConfig
from aintandem_notify.diagnostics.results import CheckResult, Report
from aintandem_notify.errors import (
    AInTandemNotifyError,
    ApiError,
    AuthenticationFailed,
    Forbidden,
    HttpFailed,
    LinkRefused,
    NotFound,
    OrchestratorError,
    ProjectGone,
)
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.log import describe_error, redact
from aintandem_notify.orchestrator import OrchestratorApi, Session, credentials_from_config
from aintandem_notify.orchestrator.link.close_codes import error_if_known
from aintandem_notify.orchestrator.link.websocket import LinkSettings, open_link
from aintandem_notify.orchestrator.watch.composition import link_settings
from aintandem_notify.orchestrator.watch.project_lookup import project_exists

ANSWER_TIMEOUT_S: Final = 30.0
"""Seconds that the orchestrator gets for all REST requests together."""
MAX_SOCKETS: Final = 16
"""Sockets that are tried at the same time."""
SETTLE_S: Final = 0.3
"""Seconds that a socket must stay open: some servers accept it and refuse the token in their first frame."""


async def check_orchestrator(config: Config, http: HttpClient, report: Report) -> None:
    """Logs in, looks for the configured projects, opens a socket for each, and logs out again."""
    orchestrator = config.orchestrator
    if orchestrator.embedded:
        report(CheckResult("orchestrator", is_ok=True, detail="the embedded simulator"))
        return
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
            ids = await _find_projects(config.projects, OrchestratorApi(session, http, clock), report)
    except trio.TooSlowError:
        report(CheckResult("orchestrator", is_ok=False, detail=f"no answer within {ANSWER_TIMEOUT_S:g} s"))
        return
    except AInTandemNotifyError as error:
        report(CheckResult("orchestrator", is_ok=False, detail=describe_error(error) + _advice(error)))
        return
    settings, limiter = link_settings(config.connection, clock), trio.CapacityLimiter(MAX_SOCKETS)
    async with trio.open_nursery() as nursery:
        for project_id in ids:
            nursery.start_soon(_check_socket, project_id, session, settings, limiter, report)
    with trio.move_on_after(ANSWER_TIMEOUT_S):
        await session.logout()


def _advice(error: AInTandemNotifyError) -> str:
    """Returns a hint at the config, if the config may be wrong."""
    match error:
        case AuthenticationFailed() | Forbidden() if error.is_from_api:
            return "; see the login in [orchestrator]"
        case HttpFailed():
            return "; is url in [orchestrator] right, and is it running?"
        case NotFound():
            return "; is url in [orchestrator] that of an orchestrator?"
        case ApiError() if not error.is_from_api or error.status < 400:
            return "; does something else answer at url in [orchestrator], such as a proxy or a login page?"
        case _:
            return ""


async def _find_projects(entries: Sequence[ProjectConfig], api: OrchestratorApi, report: Report) -> Sequence[str]:
    """The ids of the configured projects that exist. Reports the orchestrator, and entries without a project."""
    listed = [record.id for record in await api.projects()]
    missing: list[CheckResult] = []
    ids: dict[str, None] = {}
    for entry in entries:
        if not entry.is_glob:
            exists = entry.id in listed or await project_exists(entry.id, api.project)
            matching = [entry.id] if exists else []
            problem = "the orchestrator does not know it; is the id in [[projects]] right?"
        else:
            matching = [project_id for project_id in listed if fnmatchcase(project_id, entry.id)]
            there = f"matches none of the orchestrator's projects ({_list_of(listed)})"
            problem = f"{there}; is the pattern in [[projects]] right? Capital letters count"
        ids.update(dict.fromkeys(matching))
        if not matching:
            missing.append(CheckResult(_project_name(entry.id), is_ok=False, detail=problem))
    report(CheckResult("orchestrator", is_ok=True, detail=f"{len(ids)} project{'s' * (len(ids) != 1)} to watch"))
    for result in missing:
        report(result)
    return tuple(ids)


def _list_of(ids: Sequence[str], most: int = 3) -> str:
    if not ids:
        return "there are none"
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return redact(", ".join(ids[:most])) + more


def _project_name(project_id: str) -> str:
    return f"project {project_id}"


async def _check_socket(
    project_id: str, session: Session, settings: LinkSettings, limiter: trio.CapacityLimiter, report: Report
) -> None:
    name = _project_name(project_id)
    async with limiter:
        try:
            target = session.socket(project_id, await session.token())
            async with open_link(target, settings) as link:
                with trio.move_on_after(SETTLE_S):
                    await link.receive_batch()
        except ProjectGone as gone:
            detail = str(error_if_known(gone))  # REST knows it: only such projects are tried
        except LinkRefused as error:
            detail = f"{error}; see the login in [orchestrator]: may it watch this project?"
        except (OrchestratorError, HttpFailed) as error:
            detail = str(error)
        else:
            report(CheckResult(name, is_ok=True, detail="its socket opens"))
            return
    report(CheckResult(name, is_ok=False, detail=detail))
