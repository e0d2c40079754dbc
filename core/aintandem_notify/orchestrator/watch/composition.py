"""Composes the package: a fleet of projects over real links, with one session and one TLS context."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from typing import Final

import trio

from aintandem_notify import log
from aintandem_notify.config import ConnectionConfig
from aintandem_notify.domain.notification import Project
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.auth.session import Session
from aintandem_notify.orchestrator.catch_up.catch_up import CatchUp
from aintandem_notify.orchestrator.catch_up.coordinator import CatchUpCoordinator, Reconciler
from aintandem_notify.orchestrator.catch_up.event_buffer import EventBuffer
from aintandem_notify.orchestrator.catch_up.remote_clock import RemoteClock
from aintandem_notify.orchestrator.catch_up.request_slots import RequestSlots
from aintandem_notify.orchestrator.catch_up.rest_snapshot import SnapshotReader
from aintandem_notify.orchestrator.link.connection_slots import ConnectionSlots
from aintandem_notify.orchestrator.link.dial import client_context
from aintandem_notify.orchestrator.link.frame_memory import FrameMemory
from aintandem_notify.orchestrator.link.websocket import LinkSettings, connect_link, stream_opener
from aintandem_notify.orchestrator.rest.client import OrchestratorApi
from aintandem_notify.orchestrator.watch.fleet import Fleet, Watcher, run_fleet
from aintandem_notify.orchestrator.watch.project import watch_project
from aintandem_notify.orchestrator.watch.project_lookup import ProjectLookup
from aintandem_notify.orchestrator.watch.settings import EventSink, WatchSettings
from aintandem_notify.orchestrator.watch.status import StatusObserver

MAX_EVENT_CHARACTERS: Final = 2**18
"""Most characters of an event as JSON; the texts of a longer event are truncated before it is stored."""

_log = log.get_logger(__name__)


def link_settings(connection: ConnectionConfig, clock: Clock) -> LinkSettings:
    """The settings of the links from ``[connection]``. Raises ConfigError if ``ca_file`` cannot be used."""
    tls = cache(lambda: client_context(connection.ca_file))
    if connection.ca_file is not None:
        tls()  # reports an unusable file at the start, not when the first link needs it
    return LinkSettings(
        open_stream=stream_opener(tls, connection.outbound),
        clock=clock,
        connect_timeout=connection.connect_timeout,
        heartbeat_interval=connection.heartbeat_interval,
    )


@asynccontextmanager
async def open_fleet(
    session: Session,
    *,
    api: OrchestratorApi,
    sink: EventSink,
    clock: Clock,
    chance: Chance,
    reconciler: Reconciler | None = None,
    slots: ConnectionSlots | None = None,
) -> AsyncIterator[Fleet]:
    """Opens a fleet whose events go to ``sink``. It watches nothing until ``Fleet.set_projects`` is called.

    ``reconciler`` makes the events that a project misses while it has no link. None: they are lost.
    ``slots`` bounds how many projects are watched at a time. None: all.
    """
    slots = slots or ConnectionSlots()
    memory = FrameMemory()
    request_slots = RequestSlots()
    lookup = ProjectLookup(api, request_slots)
    coordinator, remote_clock = None, RemoteClock()
    if reconciler is not None:
        coordinator = CatchUpCoordinator(SnapshotReader(api, clock, request_slots, remote_clock), reconciler)

    def prepare(connection: ConnectionConfig) -> Watcher:
        settings = WatchSettings(
            session=session,
            connect=partial(connect_link, settings=replace(link_settings(connection, clock), memory=memory)),
            backoff=connection,
            sink=sink,
            clock=clock,
            chance=chance,
            slots=slots,
            max_event_characters=MAX_EVENT_CHARACTERS,
            is_known=lookup.is_known,
            remote_clock=remote_clock,
            make_catch_up=None if coordinator is None else partial(catch_up, coordinator, connection),
        )

        async def watch(project: Project, observe: StatusObserver) -> None:
            reason = await watch_project(project, settings, observe)
            _log.warning("the project is given up", project=project.id, reason=str(reason))

        return watch

    def catch_up(
        coordinator: CatchUpCoordinator,
        connection: ConnectionConfig,
        project: Project,
        buffer: EventBuffer,
        opened_at: datetime,
    ) -> CatchUp:
        return CatchUp(
            project,
            buffer,
            opened_at,
            coordinator=coordinator,
            catch_up_max=connection.catch_up_max,
            backoff=connection,
            clock=clock,
            chance=chance,
        )

    async with run_fleet(
        prepare=prepare,
        list_projects=api.listed_projects,
        clock=clock,
        chance=chance,
        beside=coordinator.record_progress if coordinator is not None else trio.sleep_forever,
    ) as fleet:
        if coordinator is not None:
            fleet.is_up_to_date = coordinator.is_up_to_date
        yield fleet
