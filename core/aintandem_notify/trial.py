"""Trying a configuration out without running it: nothing is watched, nothing is stored.

For ``check --connect``, ``test`` and ``plugins list CONFIG``.
"""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final

import trio

from aintandem_notify import log
from aintandem_notify.clock import SystemClock
from aintandem_notify.config import Config, ProjectConfig, RuleConfig
from aintandem_notify.errors import AInTandemNotifyError, AuthenticationFailed, ConfigError, NotFound, Problem
from aintandem_notify.events import EVENT_TYPES, Family
from aintandem_notify.http_client import HttpClient
from aintandem_notify.loading import Loaded
from aintandem_notify.notification import Notification, Project
from aintandem_notify.orchestrator import OrchestratorApi, Session, credentials_of
from aintandem_notify.plugins import Delivered, InstanceState, InstanceStatus, PluginHost, open_host
from aintandem_notify.rules import Router
from aintandem_notify.samples import SAMPLE_FIELDS, sample_event, sample_run

SET_UP_S: Final = 30.0
"""Seconds that all instances together get to come up; what takes longer is reported as it stands."""

LATE_S: Final = 1.0
"""Seconds beyond its deadline that a delivery in a thread gets; the agent itself would wait for it."""

TEST_MARK: Final = "Test: "
"""What the title of a made-up notification begins with, so that nobody runs to mend anything."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How one thing did; ``detail`` says what was found, or what is wrong."""

    name: str
    fine: bool
    detail: str


async def bring_up(loaded: Loaded) -> tuple[InstanceStatus, ...]:
    """Where every instance stands after its set-up."""
    async with _http(loaded.config) as http, _instances(loaded, http, tuple(loaded.config.instances)) as host:
        return host.snapshot()


async def try_all(loaded: Loaded) -> list[Trial]:
    """The orchestrator first, then every instance in file order."""
    async with _http(loaded.config) as http:
        trials = [await _try_orchestrator(loaded.config, http)]
        async with _instances(loaded, http, tuple(loaded.config.instances)) as host:
            return trials + [await _try_instance(host, status) for status in host.snapshot()]


async def send_sample(loaded: Loaded, destination: str, event_type: str) -> Trial:
    """Deliver one made-up notification. Raises ConfigError for a destination or event type that is none."""
    config = loaded.config
    destinations = [name for name, instance in config.instances.items() if instance.delivers]
    _expect("destination", destination, destinations, config)
    _expect("event type", event_type, list(EVENT_TYPES), config)
    notification = sample(config, destination, event_type, SystemClock().now())
    async with _http(config) as http, _instances(loaded, http, (destination,)) as host:
        (status,) = host.snapshot()
        if status.state is not InstanceState.LOADED:
            return Trial(destination, fine=False, detail=f"{status.state}: {status.reason}")
        timeout_s = config.instances[destination].settings.timeout + LATE_S
        with trio.move_on_after(timeout_s) as limit:
            (result,) = await host.deliver(destination, [notification])
        if limit.cancelled_caught:
            return Trial(destination, fine=False, detail=f"deliver has not ended after {timeout_s:g} s")
    if isinstance(result, Delivered):
        return Trial(destination, fine=True, detail="delivered")
    return Trial(destination, fine=False, detail=_in_words(result.error))


def sample(config: Config, destination: str, event_type: str, now: datetime) -> Notification:
    """A made-up notification for ``destination``, with the texts that an event of this type has by default."""
    project = next((entry for entry in config.projects if not entry.is_glob), None)
    project_id = project.id if project else "project-123"
    where: Project | None = Project(id=project_id, name=(project.name if project else None) or project_id)
    about = {"projectId": project_id}
    if EVENT_TYPES[event_type].family is Family.AGENT:
        # Of another instance, since none is told of itself.
        where, about = None, {"instance": "example.one"} if "instance" in SAMPLE_FIELDS[event_type] else {}
    event = sample_event(event_type, timestamp=now, **about)
    rule = RuleConfig(name="test", events=(event_type,), notify=(destination,))
    router = Router(replace(config, rules=(rule,)))
    (routed,) = router.route(event, sample_run(event), where, now)
    notification = routed.notification
    return notification.model_copy(update={"title": TEST_MARK + notification.title})


def _expect(kind: str, name: str, known: Sequence[str], config: Config) -> None:
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known) or 'none'}"
        raise ConfigError([Problem(f"no {kind} is called {name}; {hint}")], str(config.source))


async def _try_orchestrator(config: Config, http: HttpClient) -> Trial:
    orchestrator = config.orchestrator
    if orchestrator.embedded:
        return Trial("orchestrator", fine=True, detail="the embedded simulator")
    clock = SystemClock()
    session = Session(
        orchestrator.url,
        credentials_of(orchestrator),
        http=http,
        clock=clock,
        chance=random.random,
        announce=lambda event: None,  # noqa: ARG005
    )
    try:
        with trio.fail_after(SET_UP_S):
            await session.token()  # fails at once, where the API tries again and again
            found = await _find_projects(config.projects, OrchestratorApi(session, http, clock))
            await session.logout()
    except trio.TooSlowError:
        return Trial("orchestrator", fine=False, detail=f"no answer within {SET_UP_S:g} s")
    except AuthenticationFailed as error:
        return Trial("orchestrator", fine=False, detail=f"{_in_words(error)}; see the login in [orchestrator]")
    except AInTandemNotifyError as error:
        detail = f"{_in_words(error)}; is url in [orchestrator] right, and is it running?"
        return Trial("orchestrator", fine=False, detail=detail)
    return Trial("orchestrator", fine=not found.unknown, detail=found.describe())


@dataclass(frozen=True, slots=True)
class _Found:
    """Which projects of the config there are; a glob may match some later, an id that is unknown is wrong."""

    ids: tuple[str, ...]
    unknown: tuple[str, ...]
    empty_globs: tuple[str, ...]

    def describe(self) -> str:
        if self.unknown:
            return f"it knows no project {', '.join(self.unknown)}"
        count = "1 project" if len(self.ids) == 1 else f"{len(self.ids)} projects"
        return "; ".join([f"{count} to watch", *(f"none matches {glob} yet" for glob in self.empty_globs)])


async def _find_projects(entries: Sequence[ProjectConfig], api: OrchestratorApi) -> _Found:
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
    return _Found(tuple(ids), tuple(unknown), tuple(empty_globs))


async def _exists(project_id: str, listed: Sequence[str], api: OrchestratorApi) -> bool:
    if project_id in listed:
        return True
    try:
        await api.project(project_id)
    except NotFound:
        return False
    return True


async def _try_instance(host: PluginHost, status: InstanceStatus) -> Trial:
    if status.state is not InstanceState.LOADED:
        return Trial(status.name, fine=False, detail=f"{status.state}: {status.reason}")
    try:
        await host.check(status.name)
    except Exception as error:  # noqa: BLE001  # whatever the plugin's check raises is the answer
        return Trial(status.name, fine=False, detail=_in_words(error))
    return Trial(status.name, fine=True, detail="")


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return log.redact(text if isinstance(error, AInTandemNotifyError) else f"{type(error).__name__}: {text}")


def _http(config: Config) -> HttpClient:
    proxy = config.connection.proxy
    return HttpClient(proxy=proxy.reveal() if proxy else None, ca_file=config.connection.ca_file)


@asynccontextmanager
async def _instances(loaded: Loaded, http: HttpClient, names: Sequence[str]) -> AsyncIterator[PluginHost]:
    """A host with these instances, each set up or known not to come up."""
    async with open_host(
        loaded.catalog,
        http=http,
        clock=SystemClock(),
        announce=lambda event: None,  # noqa: ARG005
        chance=random.random,
    ) as host:
        for name in names:
            await host.start(loaded.config.instances[name])
        with trio.move_on_after(SET_UP_S):
            await host.wait_settled()
        yield host
