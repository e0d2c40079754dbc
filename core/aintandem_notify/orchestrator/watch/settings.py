"""The settings that all watched projects share, and the callables that receive events and statuses."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import trio

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.notification import Project
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.orchestrator.auth.login_status import LoginStatus
from aintandem_notify.orchestrator.auth.tokens import Token
from aintandem_notify.orchestrator.catch_up.catch_up import CatchUp
from aintandem_notify.orchestrator.catch_up.event_buffer import BufferUsage, EventBuffer
from aintandem_notify.orchestrator.catch_up.remote_clock import RemoteClock
from aintandem_notify.orchestrator.link.connection_slots import ConnectionSlots
from aintandem_notify.orchestrator.link.reconnect_policy import ConnectionTrouble, ReconnectSettings
from aintandem_notify.orchestrator.protocol.address import SocketTarget
from aintandem_notify.orchestrator.watch.handover import Connect

EventSink = Callable[[Project, Sequence[Event]], Awaitable[None]]
"""Stores a project's events. Returns when they are stored; raises StoreError if they cannot be stored now.

Events of the connection itself come alone."""
CatchUpFactory = Callable[[Project, EventBuffer, datetime], CatchUp]
"""Creates the ``CatchUp`` of a project, from the buffer of its live events and the time its link opened."""
IsKnown = Callable[[str], Awaitable[bool]]
"""Whether the REST API knows a project. Raises ApiError or HttpFailed if it cannot say so now."""


class TokenSource(Protocol):
    """The part of ``auth.Session`` that a project needs."""

    @property
    def login_status(self) -> LoginStatus:
        """The trouble with the login, if there is any."""
        ...

    async def token(self) -> Token:
        """A token that is expected to be valid."""
        ...

    async def renew(self, refused: Token) -> Token:
        """A new token in place of a refused one."""
        ...

    def note_accepted(self, token: Token) -> None:
        """Note that the orchestrator accepted the token."""
        ...

    def socket(self, project_id: str, token: Token) -> SocketTarget:
        """The address of the project's socket."""
        ...


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The settings that all watched projects share.

    ``fatal`` are the kinds of trouble that end the watching at once. For an agent there are none, because it waits
    until somebody solves the trouble; the library reports it to its caller. ``reports_every_try``: each failed try
    is an event, not only the first of its kind. ``max_event_characters``: an event with more characters is
    truncated. ``is_known`` None: a socket is believed that says that the orchestrator does not know the project.
    ``long_read_limiter`` bounds the threads that parse long batches. ``make_catch_up`` None: events are
    lost while no link is open.
    ``remote_clock`` gets the times of events, which are the orchestrator's; None: nobody needs them.
    ``buffer_usage`` counts the events that all projects buffer while they catch up.
    """

    session: TokenSource
    connect: Connect
    backoff: ReconnectSettings
    sink: EventSink
    clock: Clock
    chance: Chance
    fatal: frozenset[ConnectionTrouble] = frozenset()
    reports_every_try: bool = False
    make_catch_up: CatchUpFactory | None = None
    remote_clock: RemoteClock | None = None
    max_event_characters: int | None = None
    is_known: IsKnown | None = None
    long_read_limiter: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))
    buffer_usage: BufferUsage = field(default_factory=BufferUsage)
    slots: ConnectionSlots = field(default_factory=ConnectionSlots)
