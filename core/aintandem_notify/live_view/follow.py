"""Follows projects with the client library: selects them, shows their events, and decides when to end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
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
from aintandem_notify.live_view.activity import Activity
from aintandem_notify.live_view.catch_up import fetch_final_events
from aintandem_notify.live_view.model import DisplayLine, RunTracker
from aintandem_notify.live_view.output import Display, Style, open_display
from aintandem_notify.live_view.reports import Reports
from aintandem_notify.orchestrator import Login, StaticToken, open_orchestrator
from aintandem_notify.orchestrator.catch_up.record_mapping import task_observation
from aintandem_notify.orchestrator.watch.fleet import resolve
from aintandem_notify.orchestrator.watch.project_lookup import project_exists
from aintandem_notify.rules import formats

MAX_REASON: Final = 300
"""Characters of an error or close reason that are shown."""
MAX_RUNNING_TASKS: Final = 200
"""Running tasks of a project that are looked up at most; more bars than fit on any screen."""


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """The selection: ``projects`` are ids, names from the config, or globs. None selects the config's projects."""

    projects: tuple[str, ...] = ()
    task_id: str | None = None


class FollowError(AInTandemNotifyError):
    """The projects cannot be followed (any more). The text gives the reason and the remedy."""


async def follow(config: Config, options: FollowOptions, style: Style) -> bool:
    """Show events for ever, or until the selected task has ended. Returns whether that task has completed.

    Raises FollowError when there is nothing to follow (any more). Raises ReaderGone when the reader of standard
    output is gone, and OSError when it cannot be written for another reason.
    """
    try:
        async with _open_client(config) as client:
            return await _follow(client, config, options, style)
    except (OrchestratorError, HttpFailed) as error:
        raise FollowError(_explain(error)) from error


@asynccontextmanager
async def _open_client(config: Config) -> AsyncIterator[AInTandemClient]:
    """A client that is logged in. It uses a new simulator if the config says so."""
    async with open_orchestrator(config) as (url, credentials):
        token = credentials.token.reveal() if isinstance(credentials, StaticToken) else None
        async with _client(url, token, config.connection) as client:
            if isinstance(credentials, Login):
                await client.auth.login(credentials.username, credentials.password.reveal())
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


def select_entries(config: Config, names: Sequence[str]) -> tuple[ProjectConfig, ...]:
    """The config's entries with these ids or names. Any other id, name or glob becomes an entry of its own."""
    if not names:
        return config.projects
    return tuple(
        next((entry for entry in config.projects if name in (entry.id, entry.name)), ProjectConfig(id=name))
        for name in names
    )


async def _follow(client: AInTandemClient, config: Config, options: FollowOptions, style: Style) -> bool:
    entries = select_entries(config, options.projects)
    projects = await _projects(client, entries)
    tracker = RunTracker()
    if options.task_id is not None:
        project, record = await _task(client, options.task_id, projects, entries)
        projects = [project]
        tracker.add_observed(project, _running([record], project))
    if (
        shortage := describe_shortage(len(projects), raise_file_limit(), embedded=config.orchestrator.embedded)
    ) is not None:
        raise FollowError(f"{shortage}; or name fewer with --project")
    now = SystemClock().now
    activity = Activity(now(), client.progress.is_connected, options.task_id, {each.id: each for each in projects})

    def status() -> str:
        return activity.sentence(now(), len(tracker))

    with_project = len(projects) > 1 or any(entry.is_glob for entry in entries)
    async with open_display(style, tracker, now=now, with_project=with_project, status=status) as display:
        followers = _ProjectFollowers(client, config, tracker, display, activity)
        await followers.run(entries, projects)
    if followers.error is not None:
        raise followers.error
    return followers.completed


async def _projects(client: AInTandemClient, entries: Sequence[ProjectConfig]) -> list[Project]:
    """The projects that exist now. Raises FollowError for an id that the orchestrator does not know."""
    listed = await client.projects.list()
    projects = resolve(entries, listed)
    for unlisted in projects.keys() - {record.id for record in listed}:
        if not await project_exists(unlisted, client.projects.get):
            known = ", ".join(formats.one_line(record.id, 60) for record in listed[:10]) or "none"
            raise FollowError(f"the orchestrator knows no project {unlisted}; it has {known}")
    return list(projects.values())


async def _task(
    client: AInTandemClient, task_id: str, projects: Sequence[Project], entries: Sequence[ProjectConfig]
) -> tuple[Project, TaskRecord]:
    """The task and its project. Raises FollowError if no project has it."""
    for project in projects:
        try:
            return project, await client.tasks.get_task(project.id, task_id)
        except NotFound:
            continue
    where = ", ".join(project.id for project in projects) or ", ".join(entry.id for entry in entries)
    raise FollowError(f"there is no task {task_id} in {where}; name its project with --project")


def _running(records: Sequence[TaskRecord], project: Project) -> list[Observation]:
    """Observations of the running tasks."""
    observations = [task_observation(project.id, record) for record in records]
    return [
        observation
        for observation in observations
        if observation is not None and observation.state is RunState.RUNNING
    ]


class _ProjectFollowers:
    """Reads the events of each project in a task of its own."""

    def __init__(
        self,
        client: AInTandemClient,
        config: Config,
        tracker: RunTracker,
        display: Display,
        activity: Activity,
    ) -> None:
        self._client = client
        self._config = config
        self._task_id = activity.task_id
        self._tracker = tracker
        self._display = display
        self._activity = activity
        self._clock = SystemClock()
        self._reports = Reports(self._report, activity.projects)
        self.completed = False
        self.error: FollowError | None = None

    async def run(self, entries: Sequence[ProjectConfig], projects: Sequence[Project]) -> None:
        """Follow ``projects``, and new ones that match a glob, until the task has ended or an error occurs."""
        globs = [entry.id for entry in entries if entry.is_glob]
        for glob in globs:
            if not any(fnmatchcase(project.id, glob) for project in projects):
                await self.show_notice(
                    Project(id=glob, name=glob), f"No project matches {glob} yet", Severity.WARNING
                )
        async with trio.open_nursery() as nursery:
            for project in projects:
                nursery.start_soon(self._keep_following, nursery, project)
            nursery.start_soon(self._reports.keep_reporting)
            if globs and self._task_id is None:
                nursery.start_soon(self._discover, nursery, entries)

    async def _discover(self, nursery: trio.Nursery, entries: Sequence[ProjectConfig]) -> None:
        while True:
            await trio.sleep(self._config.connection.discover_interval)
            try:
                listed = await self._client.projects.list()
            except (ApiError, HttpFailed):
                continue  # the followed projects report a lost connection
            for project in resolve([entry for entry in entries if entry.is_glob], listed).values():
                if project.id not in self._activity.projects:
                    self._activity.projects[project.id] = project
                    nursery.start_soon(self._keep_following, nursery, project)

    async def _keep_following(self, nursery: trio.Nursery, project: Project) -> None:
        """Follow one project until the task has ended, the project is gone, or an error occurs."""
        connection = _ConnectionNotices(self, project)
        remove_listener = self._client.progress.on_connection_state(project.id, connection.on_change)
        try:
            await self._read(project)
        except (OrchestratorError, HttpFailed) as error:
            if isinstance(error, ProjectGone) and connection.was_up and len(self._activity.projects) > 1:
                del self._activity.projects[project.id]
                await self._reports.mark_ready(project.id)
                await self.show_notice(project, f"Project {project.name} is gone", Severity.WARNING)
                return
            self.error = self.error or FollowError(_explain(error))
            nursery.cancel_scope.cancel()
        else:
            nursery.cancel_scope.cancel()
        finally:
            remove_listener()

    async def _read(self, project: Project) -> None:
        async with self._client.progress.events(project.id, task_id=self._task_id) as events:
            if self._task_id is None:
                await self.refresh_running(project)
            await self._reports.mark_ready(project.id)
            async for event in events:
                self._activity.last_event_at = self._clock.now()
                self._reports.note_event()
                await self._show(event, project)
                if self._task_id is not None and event.type in TERMINAL_TYPES:
                    self.completed = event.type == "task_completed"
                    return

    async def _show(self, event: Event, project: Project) -> None:
        await self._display.show_event(event, self._tracker.record_event(event, project))

    async def refresh_running(self, project: Project) -> None:
        """Look up running tasks, and final events of runs that have ended meanwhile. Silent if REST fails.

        Does nothing for a single task: the client looks its end up itself.
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
        observations = _running(records, project)
        running = {observation.ref for observation in observations}
        unconfirmed = [ref for ref in self._tracker.unfinished_runs(project.id) if ref not in running]
        for ref, events in (
            await fetch_final_events(self._client, project.id, unconfirmed, self._clock.now())
        ).items():
            for event in events:
                await self._show(event, project)
            if not events:
                self._tracker.forget(ref)
        self._tracker.add_observed(project, observations)

    async def _report(self) -> None:
        """Show how the watching stands, unless a status line does."""
        if not self._display.has_status:
            projects, now = list(self._activity.projects.values()), self._clock.now()
            about = projects[0] if len(projects) == 1 else Project(id="*", name="*")
            text = self._activity.sentence(now, len(self._tracker), UTC)
            await self.show_notice(about, text, Severity.INFO)

    async def show_notice(self, project: Project, text: str, severity: Severity) -> None:
        """Show a line that is not about an event."""
        await self._display.show_notice(DisplayLine(self._clock.now(), project, severity, text))


class _ConnectionNotices:
    """Shows once that a project's connection is lost, and once that it is back."""

    def __init__(self, followers: _ProjectFollowers, project: Project) -> None:
        self.was_up = False
        self._followers = followers
        self._project = project
        self._is_lost = False

    async def on_change(self, change: ConnectionChange) -> None:
        """Listener for changes of the connection."""
        name = formats.one_line(self._project.name, 60)
        if change.type == "connected":
            if self._is_lost:
                await self._followers.show_notice(self._project, f"Connected to {name} again", Severity.SUCCESS)
                self._is_lost = False
                await self._followers.refresh_running(self._project)
            self.was_up = True
        elif not self._is_lost and change.will_reconnect:
            self._is_lost = True
            start = "Connection to" if self.was_up else "No connection to"
            reason = formats.one_line(change.error or change.reason or "", MAX_REASON)
            lost = f"{start} {name}{' lost' if self.was_up else ''}{f' ({reason})' if reason else ''}"
            await self._followers.show_notice(self._project, f"{lost}; trying again by itself", Severity.WARNING)
