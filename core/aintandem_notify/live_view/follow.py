"""Following projects on the library: which ones, what comes of each, and when it is over."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import trio

from aintandem_notify.client import AInTandemClient, ConnectionChange, TaskRecord
from aintandem_notify.config import Config, ConnectionConfig, ProjectConfig
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Project, Severity
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.runs import TERMINAL_TYPES, RunState
from aintandem_notify.errors import (
    AInTandemNotifyError,
    ApiError,
    AuthenticationFailed,
    Forbidden,
    HttpFailed,
    NotFound,
    OrchestratorError,
    ProjectGone,
)
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.foundation.open_files import describe_shortage, raise_file_limit
from aintandem_notify.live_view.catch_up import fetch_final_events
from aintandem_notify.live_view.model import DisplayLine, RunTracker
from aintandem_notify.live_view.output import Display, Style, open_display
from aintandem_notify.orchestrator import InvalidId
from aintandem_notify.orchestrator.catch_up.record_mapping import task_observation
from aintandem_notify.orchestrator.watch.fleet import resolve
from aintandem_notify.rules import formats
from aintandem_notify.simulator import DEFAULT_PROJECTS, open_simulator

MAX_REASON: Final = 300
"""Characters of what somebody else says about a connection."""
MAX_RUNNING_TASKS: Final = 200
"""Running tasks of a project that are looked up; their bars would fill no screen."""


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """What to follow: ``projects`` are ids, names of the config or globs; none means all of the config's."""

    projects: tuple[str, ...] = ()
    task_id: str | None = None


class FollowError(AInTandemNotifyError):
    """It cannot be followed, or no longer; the text says why and what to do."""


async def follow(config: Config, wanted: FollowOptions, style: Style) -> bool:
    """Show what happens, for ever, or until the wanted task has ended: then whether it has completed.

    Raises Ended when there is nothing to follow, or no longer; ReaderGone when nobody reads standard output, and
    OSError when it cannot be written to otherwise.
    """
    try:
        async with _open_client(config) as client:
            return await _follow(client, config, wanted, style)
    except (OrchestratorError, HttpFailed) as error:
        raise FollowError(_explain(error)) from error


@asynccontextmanager
async def _open_client(config: Config) -> AsyncIterator[AInTandemClient]:
    """A client that is logged in, at the simulator if the config says so."""
    orchestrator = config.orchestrator
    if orchestrator.embedded:
        named = tuple(project.id for project in config.projects if not project.is_glob)
        async with (
            open_simulator(demo_projects=named or DEFAULT_PROJECTS) as simulator,
            _client(simulator.url, None, config.connection) as client,
        ):
            await client.auth.login(simulator.username, simulator.password)
            yield client
        return
    token = orchestrator.token.reveal() if orchestrator.token else None
    async with _client(orchestrator.url, token, config.connection) as client:
        if orchestrator.username is not None and orchestrator.password is not None:
            await client.auth.login(orchestrator.username, orchestrator.password.reveal())
        yield client


def _client(url: str, token: str | None, connection: ConnectionConfig) -> AInTandemClient:
    return AInTandemClient(
        url,
        token=token,
        connect_timeout=connection.connect_timeout,
        heartbeat_interval=connection.heartbeat_interval,
        reconnect_attempts=connection.reconnect_attempts,
        reconnect_initial_delay=connection.reconnect_initial_delay,
        reconnect_max_delay=connection.reconnect_max_delay,
        proxy=connection.proxy_url,
        no_proxy=connection.no_proxy,
        allow_addresses=connection.allow_addresses,
        ca_file=connection.ca_file,
        history_limit=0,
    )


def _explain(error: Exception) -> str:
    text = formats.one_line(str(error), MAX_REASON)
    match error:
        case AuthenticationFailed() | Forbidden():
            return f"{text}; see the login in [orchestrator]"
        case HttpFailed():
            return f"{text}; is url in [orchestrator] right, and is it running?"
        case _:
            return text


def select_entries(config: Config, wanted: Sequence[str]) -> tuple[ProjectConfig, ...]:
    """The entries of the config that are meant; an id, name or glob that it has not is an entry of its own."""
    if not wanted:
        return config.projects
    return tuple(
        next((one for one in config.projects if name in (one.id, one.name)), ProjectConfig(id=name))
        for name in wanted
    )


async def _follow(client: AInTandemClient, config: Config, wanted: FollowOptions, style: Style) -> bool:
    meant = select_entries(config, wanted.projects)
    projects = await _projects(client, meant)
    tracker = RunTracker()
    if wanted.task_id is not None:
        project, record = await _task(client, wanted.task_id, projects, meant)
        projects = [project]
        tracker.add_observed(project, _running([record], project))
    if (
        few := describe_shortage(len(projects), raise_file_limit(), embedded=config.orchestrator.embedded)
    ) is not None:
        raise FollowError(f"{few}; or name fewer with --project")
    many = len(projects) > 1 or any(one.is_glob for one in meant)
    async with open_display(style, tracker, now=SystemClock().now, with_project=many) as display:
        followers = _ProjectFollowers(client, config, wanted, tracker, display)
        await followers.run(meant, projects)
    if followers.error is not None:
        raise followers.error
    return followers.completed


async def _projects(client: AInTandemClient, meant: Sequence[ProjectConfig]) -> list[Project]:
    """The projects that are there now; raises NotFound for a literal id that nobody knows."""
    listed = await client.projects.list()
    found = resolve(meant, listed)
    for unlisted in found.keys() - {record.id for record in listed}:
        try:
            await client.projects.get(unlisted)
        except (NotFound, InvalidId):
            known = ", ".join(formats.one_line(record.id, 60) for record in listed[:10]) or "none"
            raise FollowError(f"the orchestrator knows no project {unlisted}; it has {known}") from None
    return list(found.values())


async def _task(
    client: AInTandemClient, task_id: str, projects: Sequence[Project], meant: Sequence[ProjectConfig]
) -> tuple[Project, TaskRecord]:
    """The task, and the project that it is in."""
    for project in projects:
        try:
            return project, await client.tasks.get_task(project.id, task_id)
        except NotFound:
            continue
    where = ", ".join(project.id for project in projects) or ", ".join(one.id for one in meant)
    raise FollowError(f"there is no task {task_id} in {where}; name its project with --project")


def _running(records: Sequence[TaskRecord], project: Project) -> list[Observation]:
    """Those that run."""
    seen = [task_observation(project.id, record) for record in records]
    return [one for one in seen if one is not None and one.state is RunState.RUNNING]


class _ProjectFollowers:
    """One reader a project."""

    def __init__(
        self, client: AInTandemClient, config: Config, wanted: FollowOptions, tracker: RunTracker, display: Display
    ) -> None:
        self._client = client
        self._config = config
        self._task_id = wanted.task_id
        self._tracker = tracker
        self._display = display
        self._clock = SystemClock()
        self._followed: set[str] = set()
        self.completed = False
        self.error: FollowError | None = None

    async def run(self, meant: Sequence[ProjectConfig], projects: Sequence[Project]) -> None:
        """Follow these, and what comes to match, until the task has ended or there is an error."""
        globs = [one.id for one in meant if one.is_glob]
        for glob in globs:
            if not any(fnmatchcase(project.id, glob) for project in projects):
                await self.show_notice(
                    Project(id=glob, name=glob), f"No project matches {glob} yet", Severity.WARNING
                )
        async with trio.open_nursery() as nursery:
            for project in projects:
                self._start(nursery, project)
            if globs and self._task_id is None:
                nursery.start_soon(self._look_for_more, nursery, meant)

    def _start(self, nursery: trio.Nursery, project: Project) -> None:
        self._followed.add(project.id)
        nursery.start_soon(self._keep_following, nursery, project)

    async def _look_for_more(self, nursery: trio.Nursery, meant: Sequence[ProjectConfig]) -> None:
        while True:
            await trio.sleep(self._config.connection.discover_interval)
            try:
                listed = await self._client.projects.list()
            except (ApiError, HttpFailed):
                continue  # what is followed says when the connection is lost
            for project in resolve([one for one in meant if one.is_glob], listed).values():
                if project.id not in self._followed:
                    self._start(nursery, project)

    async def _keep_following(self, nursery: trio.Nursery, project: Project) -> None:
        """Until the task has ended, the project is gone, or it cannot go on."""
        connection = _ConnectionNotices(self, project)
        unlisten = self._client.progress.on_connection_state(project.id, connection.on_change)
        try:
            await self._read(project)
        except (OrchestratorError, HttpFailed) as error:
            if isinstance(error, ProjectGone) and connection.was_up and len(self._followed) > 1:
                self._followed.discard(project.id)
                await self.show_notice(project, f"Project {project.name} is gone", Severity.WARNING)
                return
            self.error = self.error or FollowError(_explain(error))
            nursery.cancel_scope.cancel()
        else:
            nursery.cancel_scope.cancel()
        finally:
            unlisten()

    async def _read(self, project: Project) -> None:
        async with self._client.progress.events(project.id, task_id=self._task_id) as events:
            if self._task_id is None:
                await self.refresh_running(project)
            async for event in events:
                await self._show(event, project)
                if self._task_id is not None and event.type in TERMINAL_TYPES:
                    self.completed = event.type == "task_completed"
                    return

    async def _show(self, event: Event, project: Project) -> None:
        await self._display.show_event(event, self._tracker.record_event(event, project))

    async def refresh_running(self, project: Project) -> None:
        """What runs already, and how that ended which we took to be running; silent when it cannot be asked.

        Of the one task that is wanted the client itself finds that out.
        """
        if self._task_id is not None:
            return
        try:
            records: list[TaskRecord] = []
            async for record in self._client.tasks.list_tasks(project.id, status="running"):
                records.append(record)
                if len(records) >= MAX_RUNNING_TASKS:
                    break
        except (ApiError, HttpFailed):
            return
        seen = _running(records, project)
        running = {one.ref for one in seen}
        unsure = [ref for ref in self._tracker.unfinished_runs(project.id) if ref not in running]
        for ref, events in (await fetch_final_events(self._client, project.id, unsure, self._clock.now())).items():
            for event in events:
                await self._show(event, project)
            if not events:
                self._tracker.forget(ref)
        self._tracker.add_observed(project, seen)

    async def show_notice(self, project: Project, text: str, severity: Severity) -> None:
        """A line of our own."""
        await self._display.show_notice(DisplayLine(self._clock.now(), project, severity, text))


class _ConnectionNotices:
    """What is said of a project's connection: when it is lost, and when it is back; each once."""

    def __init__(self, followers: _ProjectFollowers, project: Project) -> None:
        self.was_up = False
        self._followers = followers
        self._project = project
        self._is_lost = False

    async def on_change(self, change: ConnectionChange) -> None:
        """The listener."""
        name = formats.one_line(self._project.name, 60)
        if change.type == "connected":
            if self._is_lost:
                await self._followers.show_notice(self._project, f"Connected to {name} again", Severity.SUCCESS)
                self._is_lost = False
                await self._followers.refresh_running(self._project)
            self.was_up = True
        elif not self._is_lost and change.will_reconnect:
            self._is_lost = True
            what = "Connection to" if self.was_up else "No connection to"
            reason = formats.one_line(change.error or change.reason or "", MAX_REASON)
            lost = f"{what} {name}{' lost' if self.was_up else ''}{f' ({reason})' if reason else ''}"
            await self._followers.show_notice(self._project, f"{lost}; trying again by itself", Severity.WARNING)
