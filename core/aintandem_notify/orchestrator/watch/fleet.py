"""The fleet: decides which projects to watch, and runs one supervisor for each.

Globs are resolved against the orchestrator's list, every ``discover_interval``. A project given by its id needs no
lookup. A project that crashes is restarted alone; the others are not affected.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Final, Protocol

import trio

from aintandem_notify import log
from aintandem_notify.config import ConnectionConfig
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import MAX_NAME_CHARACTERS
from aintandem_notify.errors import ApiError, AuthenticationFailed, HttpFailed
from aintandem_notify.foundation.backoff import Chance, full_jitter
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.log import redact_start
from aintandem_notify.orchestrator.link.states import ConnectionState
from aintandem_notify.orchestrator.rest.records import ProjectList, ProjectRecord
from aintandem_notify.orchestrator.watch.status import DiscoveryStatus, ProjectStatus, StatusObserver

RESTART_DELAY_S: Final = 1.0
RESTART_MAX_DELAY_S: Final = 60.0
"""Pauses before a crashed supervisor restarts; a crash is a bug of ours and may repeat."""
NAME_LOOKUP_S: Final = 3.0
"""Longest wait for the orchestrator's list, which has the names of projects; after that the id is the name."""

WAITS_FOR_NAME: Final = "its name is being looked up in the orchestrator's list"
NO_ANSWER_YET: Final = "no answer yet"

RESTART_STABLE_S: Final = 600.0
"""After so long without a crash, the next one counts as the first."""

_log = log.get_logger(__name__)


class WatchedProject(Protocol):
    """An entry of the config: an id or a glob over ids, and its name."""

    @property
    def id(self) -> str:
        """An id, or a glob if ``is_glob``."""
        ...

    @property
    def name(self) -> str | None:
        """The name; None: the name that the orchestrator lists."""
        ...

    @property
    def is_glob(self) -> bool:
        """Whether ``id`` stands for all ids that match it."""
        ...


Watcher = Callable[[Project, StatusObserver], Awaitable[None]]
"""Watches one project, as ``project.watch_project`` does."""
WatcherFactory = Callable[[ConnectionConfig], Watcher]
"""Creates the watcher for these settings. Raises ConfigError if they cannot be used."""
ListProjects = Callable[[], Awaitable[ProjectList]]
"""Returns the projects that the orchestrator lists. Raises ApiError or HttpFailed."""


@dataclass(eq=False, slots=True)
class _Supervisor:
    """One project's supervisor: cancel ``scope`` to end it; ``ended`` is set after that."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    restarts: int = 0


def resolve(entries: Iterable[WatchedProject], listed: Sequence[ProjectRecord]) -> dict[str, Project]:
    """The projects to watch, by id: literal ids always, ids that match a glob if they are listed.

    The name is the config's for a literal id, else the orchestrator's, else the id. An id that several entries
    match is watched once; the literal entry wins. Names are truncated, because each notification has one.
    """
    names = {record.id: _truncate_name(record.name or "") for record in listed}
    entries = list(entries)
    projects = {
        project_id: Project(id=project_id, name=name or project_id)
        for project_id, name in names.items()
        if any(entry.is_glob and fnmatchcase(project_id, entry.id) for entry in entries)
    }
    for entry in entries:
        if not entry.is_glob:
            projects[entry.id] = Project(id=entry.id, name=entry.name or names.get(entry.id) or entry.id)
    return projects


def _truncate_name(name: str) -> str:
    return name if len(name) <= MAX_NAME_CHARACTERS else redact_start(name, MAX_NAME_CHARACTERS)


class Fleet:
    """The watched projects; created by ``run_fleet``."""

    def __init__(self, nursery: trio.Nursery, prepare: WatcherFactory, clock: Clock, chance: Chance) -> None:
        self._nursery = nursery
        self._prepare = prepare
        self._watch: Watcher
        self._clock = clock
        self._chance = chance
        self._entries: tuple[WatchedProject, ...] = ()
        self._connection: ConnectionConfig | None = None
        self._wanted: dict[str, Project] = {}
        self._allowed: Collection[str] | None = None
        self._wanted_changed = trio.Event()
        self._running: dict[str, _Supervisor] = {}
        self._statuses: dict[str, ProjectStatus] = {}
        self._expected: dict[str, ProjectStatus] = {}
        self._down_since: dict[str, datetime] = {}
        self._absent_once: set[str] = set()
        self._discovery = DiscoveryStatus()
        self._changed = trio.Event()
        self.is_up_to_date: Callable[[str], bool] = lambda _project_id: True
        """True if no event of the project is missing now."""

    def snapshot(self) -> tuple[ProjectStatus, ...]:
        """The status of every project that this agent watches or is about to watch; the latter come last."""
        expected = (
            status
            for project_id, status in self._expected.items()
            if project_id not in self._statuses and self._is_allowed(project_id)
        )
        return (*self._statuses.values(), *expected)

    def discovery(self) -> DiscoveryStatus:
        """The state of the search for the projects that globs match."""
        return self._discovery

    def expect(self, entries: Iterable[WatchedProject]) -> None:
        """Show the projects of these entries in ``snapshot`` from now on, before ``set_projects`` can watch them.

        Projects that match globs are not known yet; ``discovery`` says whether they are.
        """
        entries = list(entries)
        self._expected = {
            project.id: self._first_status(project, WAITS_FOR_NAME)
            for project in resolve([entry for entry in entries if not entry.is_glob], ()).values()
        }
        globs = {entry.id for entry in entries if entry.is_glob}
        idle_globs = {glob: since for glob, since in self._discovery.idle_globs.items() if glob in globs}
        trouble, since = (self._discovery.trouble, self._discovery.since) if globs else (None, None)
        self._discovery = DiscoveryStatus(
            trouble, since, idle_globs, has_listed=not globs, asked_since=self._clock.now() if globs else None
        )

    @property
    def wanted(self) -> Set[str]:
        """The projects that result from the entries, watched by this agent or another."""
        return self._wanted.keys()

    @property
    def wanted_changed(self) -> trio.Event:
        """Is set when ``wanted`` changes. After that, this property returns a new event."""
        return self._wanted_changed

    async def watch_only(self, ids: Collection[str] | None) -> None:
        """Watch only the wanted projects that are among ``ids`` (None: all), now and when ``wanted`` changes.

        Returns when the stopped supervisors have ended.
        """
        self._allowed = ids
        stopped = [
            self._stop(project_id) for project_id in list(self._running) if not self._is_allowed(project_id)
        ]
        self._start_allowed()
        for supervisor in stopped:
            await supervisor.ended.wait()

    def _is_allowed(self, project_id: str) -> bool:
        return self._allowed is None or project_id in self._allowed

    async def set_projects(self, entries: Iterable[WatchedProject], connection: ConnectionConfig) -> None:
        """Watch the projects of these entries: start new ones, stop removed ones, and leave the others alone.

        Changed connection settings restart all. Returns when the stopped supervisors have ended. Raises
        ConfigError if the connection settings cannot be used; then nothing has changed.
        """
        entries = tuple(entries)
        if connection != self._connection:
            self._watch = self._prepare(connection)
            self._connection = connection
            self._entries = ()
        else:
            self._entries = entries
        # A restart of its supervisor gives a project no link.
        self._down_since = {
            status.project.id: status.down_since for status in self.snapshot() if status.down_since is not None
        }
        self.expect(entries)
        for project_id in [project_id for project_id in self._wanted if not self._is_wanted(project_id)]:
            del self._wanted[project_id]
        stopped = [self._stop(project_id) for project_id in list(self._running) if project_id not in self._wanted]
        for supervisor in stopped:
            await supervisor.ended.wait()
        self._entries = entries
        # The other entries wait for the list, which has the names, and the ids that match globs.
        self._add_wanted(resolve([entry for entry in self._entries if not entry.is_glob and entry.name], ()))
        self._notify_wanted_changed()
        self._changed.set()

    def _is_wanted(self, project_id: str) -> bool:
        """Whether the entries still have this project, under its present name."""
        literal = [entry for entry in self._entries if not entry.is_glob and entry.id == project_id]
        if literal:
            return literal[-1].name in (None, self._wanted[project_id].name)
        return any(entry.is_glob and fnmatchcase(project_id, entry.id) for entry in self._entries)

    async def follow_changes(self, list_projects: ListProjects) -> None:
        """Start and stop projects as the entries and the orchestrator's list change. Never returns."""
        failures = 0
        while True:
            self._changed = trio.Event()
            interval = math.inf if self._connection is None else self._connection.discover_interval
            pause = math.inf
            if any(entry.is_glob or entry.id not in self._wanted for entry in self._entries):
                listed = await self._list(list_projects, first_failure=failures == 0)
                failures = 0 if listed is not None else failures + 1
                self._apply(listed)
                if any(entry.is_glob for entry in self._entries):
                    pause = interval if listed is not None else self._list_pause(failures, interval)
            with trio.move_on_after(pause):
                await self._changed.wait()

    async def _list(self, list_projects: ListProjects, *, first_failure: bool) -> ProjectList | None:
        """The orchestrator's list. None if it fails, or takes longer than a project may wait for its name."""
        is_waiting = any(not entry.is_glob and entry.id not in self._wanted for entry in self._entries)
        try:
            with trio.fail_after(NAME_LOOKUP_S if is_waiting else math.inf):
                return await list_projects()
        except trio.TooSlowError:
            reason, is_reported = NO_ANSWER_YET, not first_failure
        except (ApiError, HttpFailed) as error:
            # The session reports a refused login, once for all projects.
            reason, is_reported = str(error), not first_failure or isinstance(error, AuthenticationFailed)
        if not is_reported:
            _log.warning("the projects could not be listed", reason=reason)
        self._note_trouble(reason)
        return None

    def _note_trouble(self, reason: str) -> None:
        if any(entry.is_glob for entry in self._entries):
            since = self._discovery.since or self._clock.now()
            self._discovery = replace(self._discovery, trouble=reason, since=since)

    def _list_pause(self, failures: int, interval: float) -> float:
        return full_jitter(failures - 1, initial=RESTART_DELAY_S, maximum=interval, chance=self._chance)

    def _apply(self, listed: ProjectList | None) -> None:
        resolved = resolve(self._entries, listed.projects if listed is not None else ())
        self._add_wanted(resolved)
        if listed is not None and listed.is_whole:
            # A project is stopped when it is absent twice: one wrong list must not silence it.
            absent = self._wanted.keys() - resolved.keys()
            for project_id in absent & self._absent_once:
                del self._wanted[project_id]
                if project_id in self._running:
                    self._stop(project_id)
            self._absent_once = absent - self._absent_once
        if listed is not None:
            self._note_idle_globs(listed.projects)
        self._notify_wanted_changed()

    def _note_idle_globs(self, listed: Sequence[ProjectRecord]) -> None:
        """Note, and log once, that a glob matches no project: its author waits for events that cannot come.

        A project that is absent from this one list is still watched, so its glob matches.
        """
        now, known = self._clock.now(), self._discovery.idle_globs
        literal = {entry.id for entry in self._entries if not entry.is_glob}
        matching = {record.id for record in listed} | (self._wanted.keys() - literal)
        idle = {
            entry.id: known.get(entry.id, now)
            for entry in self._entries
            if entry.is_glob and not any(fnmatchcase(project_id, entry.id) for project_id in matching)
        }
        for glob in sorted(idle.keys() - known.keys()):
            _log.warning("no project matches", glob=glob, listed=len(listed))
        self._discovery = DiscoveryStatus(idle_globs=idle)

    def _add_wanted(self, projects: Mapping[str, Project]) -> None:
        """Want these projects, too. A project that is wanted already keeps its name."""
        self._wanted |= {
            project_id: project for project_id, project in projects.items() if project_id not in self._wanted
        }
        self._start_allowed()

    def _notify_wanted_changed(self) -> None:
        self._wanted_changed.set()
        self._wanted_changed = trio.Event()

    def _start_allowed(self) -> None:
        for project in self._wanted.values() if self._allowed is None else self._among(self._allowed):
            if project.id not in self._running:
                supervisor = self._running[project.id] = _Supervisor()
                self._expected.pop(project.id, None)
                self._statuses[project.id] = self._first_status(project)
                self._down_since.pop(project.id, None)
                self._nursery.start_soon(self._supervise, project, supervisor, self._watch)

    def _first_status(self, project: Project, reason: str | None = None) -> ProjectStatus:
        now, down_since = self._clock.now(), self._down_since.get(project.id)
        return ProjectStatus(
            project, ConnectionState.DISCONNECTED, now, last_error=reason, unstable_since=down_since
        )

    def _among(self, ids: Iterable[str]) -> list[Project]:
        return [self._wanted[project_id] for project_id in ids if project_id in self._wanted]

    def _stop(self, project_id: str) -> _Supervisor:
        _log.info("no longer watching", project=project_id)
        supervisor = self._running.pop(project_id)
        del self._statuses[project_id]
        supervisor.scope.cancel()
        return supervisor

    async def _supervise(self, project: Project, supervisor: _Supervisor, watch: Watcher) -> None:
        def observe(status: ProjectStatus) -> None:
            # A stopped supervisor may still close its link while another one runs in its place.
            if self._running.get(project.id) is supervisor:
                status = status.following(self._statuses[project.id])
                restarts = supervisor.restarts
                self._statuses[project.id] = replace(status, restarts=restarts) if restarts else status

        try:
            with supervisor.scope:
                await self._watch_forever(project, supervisor, watch, observe)
        finally:
            supervisor.ended.set()

    async def _watch_forever(
        self, project: Project, supervisor: _Supervisor, watch: Watcher, observe: StatusObserver
    ) -> None:
        crashes = 0
        while True:
            started_at = trio.current_time()
            try:
                await watch(project, observe)
                return
            except Exception as error:  # noqa: BLE001  # the border of a project: the others go on
                supervisor.restarts += 1
                _log.exception("watching crashed, starting anew", project=project.id, restarts=supervisor.restarts)
                observe(self._crashed(self._statuses[project.id], log.describe_error(error)))
            crashes = 1 if trio.current_time() - started_at >= RESTART_STABLE_S else crashes + 1
            await trio.sleep(self._restart_pause(crashes))

    def _crashed(self, status: ProjectStatus, reason: str) -> ProjectStatus:
        since = self._clock.now() if status.state is not ConnectionState.DISCONNECTED else status.since
        return replace(
            status, state=ConnectionState.DISCONNECTED, since=since, connected_at=None, last_error=reason
        )

    def _restart_pause(self, crashes: int) -> float:
        return full_jitter(crashes - 1, initial=RESTART_DELAY_S, maximum=RESTART_MAX_DELAY_S, chance=self._chance)


@asynccontextmanager
async def run_fleet(
    *,
    prepare: WatcherFactory,
    list_projects: ListProjects,
    clock: Clock,
    chance: Chance,
    beside: Callable[[], Awaitable[None]] = trio.sleep_forever,
) -> AsyncIterator[Fleet]:
    """Runs a fleet, without projects until ``set_projects`` is called. Leaving the block stops all of them.

    ``beside`` runs for as long as the block lasts.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(beside)
        fleet = Fleet(nursery, prepare, clock, chance)
        nursery.start_soon(fleet.follow_changes, list_projects)
        yield fleet
        nursery.cancel_scope.cancel()
