"""A world of planned links, in which a project is watched in virtual time."""

import math
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import trio
import trio.testing

from aintandem_notify.config import ConnectionConfig
from aintandem_notify.domain.events import ConnectionErrorEvent, Event
from aintandem_notify.domain.notification import Project
from aintandem_notify.errors import ApiError, HttpFailed, LinkLost, OrchestratorError, StoreError
from aintandem_notify.orchestrator.auth.login_status import LoginStatus
from aintandem_notify.orchestrator.auth.tokens import Token, TokenOrigin
from aintandem_notify.orchestrator.link.connection_slots import ConnectionSlots
from aintandem_notify.orchestrator.link.reconnect_policy import ConnectionTrouble
from aintandem_notify.orchestrator.link.states import ConnectionState
from aintandem_notify.orchestrator.link.websocket import Frame, Link
from aintandem_notify.orchestrator.protocol.address import SocketTarget, socket_target
from aintandem_notify.orchestrator.watch.project import watch_project
from aintandem_notify.orchestrator.watch.settings import WatchSettings
from aintandem_notify.orchestrator.watch.status import ProjectStatus
from support.trio_clock import TrioClock

PROJECT = Project(id="p", name="Sales")
FOR_EVER = math.inf


@dataclass
class Plan:
    """One connection: refused with ``refusal``, or open for ``lasts`` seconds, with batches on the way.

    ``left`` arrives when it is being closed, ``trouble`` comes out of that.
    """

    refusal: OrchestratorError | None = None
    batches: Sequence[Sequence[Frame]] = ()
    lasts: float = FOR_EVER
    end: OrchestratorError = field(default_factory=lambda: LinkLost("gone away", 1001))
    unread: Sequence[Frame] = ()
    trouble: OrchestratorError | None = None


class PlannedLink:
    def __init__(self, plan: Plan) -> None:
        self._batches = deque(plan.batches)
        self._plan = plan
        self._ends_at = trio.current_time() + plan.lasts
        self.closed = trio.Event()
        self._finished = trio.Event()

    @property
    def last_received_at(self) -> float:
        return trio.current_time()

    async def receive_batch(self) -> list[Frame]:
        if self._batches:
            return list(self._batches.popleft())
        with trio.move_on_at(self._ends_at):
            await self.closed.wait()
            if unread := self.take_buffered():
                return unread
        raise self._plan.end

    async def run(self) -> None:
        await self._finished.wait()

    async def finish(self) -> None:
        await trio.lowlevel.checkpoint()
        self._finished.set()

    def take_buffered(self) -> list[Frame]:
        unread, self._plan = self._plan.unread, replace(self._plan, unread=())
        return list(unread)


@dataclass
class World:
    """The orchestrator and the store of one project. Every try is recorded with its time and token."""

    plans: deque[Plan] = field(default_factory=deque)
    tokens: dict[str, Token] = field(default_factory=dict)
    tries: list[tuple[float, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    event_times: list[float] = field(default_factory=list)
    statuses: list[ProjectStatus] = field(default_factory=list)
    renewals: list[str] = field(default_factory=list)
    store_fails: int = 0
    store_tries: list[float] = field(default_factory=list)
    session_fails: deque[Exception] = field(default_factory=deque)
    login_takes: float = 0.0
    login_status: LoginStatus = field(default_factory=LoginStatus)
    renewal_fails: Exception | None = None
    lifetime: float = FOR_EVER
    fatal: frozenset[ConnectionTrouble] = frozenset()
    reports_every_try: bool = False
    rest_knows: deque[bool | ApiError | HttpFailed] | None = None
    rest_takes: float = 0.0
    lookups: list[float] = field(default_factory=list)
    places: ConnectionSlots = field(default_factory=ConnectionSlots)
    max_event_characters: int | None = None
    gave_up_for: Exception | None = None
    open_links: int = 0
    most_links: int = 0

    def __post_init__(self) -> None:
        self._present: Token | None = None
        self._count = 0

    def _new(self) -> Token:
        self._count += 1
        now, life = trio.current_time(), self.lifetime
        origin = TokenOrigin.LOGIN if self._count == 1 else TokenOrigin.REFRESH
        self._present = Token(f"T{self._count}", origin, None, now + life * 0.75, now + life * 0.9)
        return self._present

    async def token(self) -> Token:
        if self._present is None or trio.current_time() >= self._present.renew_from:
            await trio.sleep(self.login_takes)
            if self.session_fails:
                raise self.session_fails.popleft()
            return self._new()
        return self._present

    async def renew(self, refused: Token) -> Token:
        self.renewals.append(refused.text)
        if self.renewal_fails is not None:
            raise self.renewal_fails
        return self._new()

    async def is_known(self, project_id: str) -> bool:
        assert self.rest_knows is not None
        self.lookups.append(trio.current_time())
        await trio.sleep(self.rest_takes)
        answer = self.rest_knows.popleft() if len(self.rest_knows) > 1 else self.rest_knows[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def note_accepted(self, token: Token) -> None:
        pass

    def socket(self, project_id: str, token: Token) -> SocketTarget:
        return socket_target("http://h/api", project_id, token.text)

    @asynccontextmanager
    async def connect(self, target: SocketTarget) -> AsyncIterator[Link]:
        self.tries.append((trio.current_time(), target.resource.rpartition("=")[2]))
        plan = self.plans.popleft() if self.plans else Plan()
        if plan.refusal is not None:
            raise plan.refusal
        self.open_links += 1
        self.most_links = max(self.most_links, self.open_links)
        link = PlannedLink(plan)
        try:
            yield link
        finally:
            self.open_links -= 1
            link.closed.set()
            if plan.trouble is not None:
                raise plan.trouble

    async def sink(self, project: Project, events: Sequence[Event]) -> None:
        assert project is PROJECT
        self.store_tries.append(trio.current_time())
        if self.store_fails:
            self.store_fails -= 1
            raise StoreError("the disk is full")
        self.events += events
        self.event_times += [trio.current_time()] * len(events)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def errors(self) -> list[ConnectionErrorEvent]:
        return [event for event in self.events if isinstance(event, ConnectionErrorEvent)]

    @property
    def states(self) -> list[ConnectionState]:
        """All states, in order."""
        states: list[ConnectionState] = []
        for status in self.statuses:
            if not states or states[-1] is not status.state:
                states.append(status.state)
        return states

    async def watch(self, seconds: float, *, chance: float = 1.0, **connection: Any) -> None:
        """Watch the project for a while."""
        settings = WatchSettings(
            session=self,
            connect=self.connect,
            backoff=ConnectionConfig.model_construct(**{**ConnectionConfig().model_dump(), **connection}),
            sink=self.sink,
            clock=TrioClock(),
            chance=lambda: chance,
            fatal=self.fatal,
            reports_every_try=self.reports_every_try,
            is_known=self.is_known if self.rest_knows is not None else None,
            slots=self.places,
            max_event_characters=self.max_event_characters,
        )
        with trio.move_on_after(seconds):
            self.gave_up_for = await watch_project(PROJECT, settings, self.statuses.append)
        assert self.open_links == 0
