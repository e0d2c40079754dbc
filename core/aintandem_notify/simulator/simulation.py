"""The simulator's Python interface: its address, its world, and its faults on demand."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

import trio

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.wire.fault_proxy import FaultProxy
from aintandem_notify.simulator.wire.faults import Faults
from aintandem_notify.simulator.wire.subscriptions import Subscriptions
from aintandem_notify.simulator.world.sandboxes import Sandboxes
from aintandem_notify.simulator.world.tasks import Tasks
from aintandem_notify.simulator.world.tokens import TokenIssuer
from aintandem_notify.simulator.world.workflows import Workflows
from aintandem_notify.simulator.world.world import World

Refusal = Literal["http", "close"]
"""The answer to a socket with a bad token: HTTP 401 at the upgrade, or accepted and closed with 4401."""


@dataclass
class Simulator:
    """A running simulated orchestrator.

    ``tasks``, ``workflows`` and ``sandboxes`` change the world directly; REST calls use the same methods.
    ``world.history`` holds the events that were sent, as on the wire. ``ping_interval`` is the time between the
    server's own JSON pings in seconds; with None it only answers its clients' pings. A fault with a ``project_id``
    affects the sockets of that project; None affects every socket.
    """

    username: ClassVar[str] = "admin"
    password: ClassVar[str] = "admin123"  # noqa: S105  # the documented login of a simulator

    host: str
    world: World
    tokens: TokenIssuer
    subscriptions: Subscriptions
    front: FaultProxy
    nursery: trio.Nursery
    refusal: Refusal = "http"
    ping_interval: float | None = None
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self.tasks: Tasks = Tasks(self.world)
        self.workflows: Workflows = Workflows(self.world)
        self.sandboxes: Sandboxes = Sandboxes(self.world)
        self.started_at: datetime = self.world.clock.now()

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.front.port

    @property
    def url(self) -> str:
        """The value for ``url`` in a config's ``[orchestrator]``."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def wait_subscribed(self, project_id: str, sockets: int = 1) -> None:
        """Wait until that many sockets watch the project. Earlier events would reach nobody."""
        await self.subscriptions.wait_for(project_id, at_least=sockets)

    async def wait_unsubscribed(self, project_id: str) -> None:
        """Wait until no socket watches the project."""
        await self.subscriptions.wait_for(project_id, at_most=0)

    def send(self, project_id: str, frame: str | bytes) -> None:
        """Send any frame, even a malformed one. Bytes are sent as a binary frame.

        Raises TypeError for another type, and ApiError for a text with a lone surrogate, which no frame can hold.
        """
        if not isinstance(frame, str | bytes):
            raise TypeError(f"a frame is str or bytes, not {type(frame).__name__}; json.dumps makes one of values")
        try:
            _ = frame.encode() if isinstance(frame, str) else frame
        except UnicodeEncodeError:
            raise ApiError("frame holds a lone surrogate", status=400, code="INVALID_VALUE") from None
        self.subscriptions.publish(project_id, frame)

    def drop(self, project_id: str | None = None, *, code: int | None = None, reset: bool = False) -> int:
        """Cut sockets: with a close code, by a TCP reset, or without either. Returns their number."""
        subscriptions = self.subscriptions.of(project_id)
        for subscription in subscriptions:
            if code is not None:
                subscription.end(code)
            elif subscription.connection is not None:
                subscription.connection.cut(reset=reset)
        return len(subscriptions)

    def stall(self, project_id: str | None = None, *, seconds: float | None = None) -> int:
        """Stop sending on the open sockets, even pongs, for real ``seconds`` or until ``resume``.

        Returns their number.
        """
        connections = [
            subscription.connection
            for subscription in self.subscriptions.of(project_id)
            if subscription.connection is not None
        ]
        for connection in connections:
            connection.stall()
        if seconds is not None:
            self.nursery.start_soon(self._resume_later, project_id, seconds)
        return len(connections)

    def resume(self, project_id: str | None = None) -> None:
        """End a stall, and send the frames that it held back."""
        for subscription in self.subscriptions.of(project_id):
            if subscription.connection is not None:
                subscription.connection.resume()

    def duplicate(self, count: int = 1) -> None:
        """Send each of the next ``count`` events twice."""
        self.faults.duplicates = count

    def fail_requests(self, count: int = 1, *, status: int = 503) -> None:
        """Answer the next ``count`` REST requests with a server error. Raises ApiError for another status."""
        if not 500 <= status <= 599:
            raise ApiError("status must be 500 to 599", status=400, code="INVALID_VALUE")
        self.faults.failures, self.faults.failure_status = count, status

    def delay_requests(self, count: int = 1, *, seconds: float = 1.0) -> None:
        """Delay the responses to the next ``count`` REST requests by real ``seconds``."""
        self.faults.delays, self.faults.delay_s = count, seconds

    def refuse_logins(self, count: int = 1) -> None:
        """Refuse the next ``count`` logins, even correct ones."""
        self.faults.refused_logins = count

    def expire_tokens(self, *, refresh_tokens: bool = False, close_code: int | None = None) -> None:
        """Refuse every token issued until now. With ``close_code``, also close the open sockets."""
        self.tokens.expire_all(refresh_tokens=refresh_tokens)
        if close_code is not None:
            self.drop(code=close_code)

    async def restart(self, seconds: float = 1.0) -> None:
        """Refuse connections for real ``seconds``, then listen on the same port again. The world continues."""
        with self.front.away():
            await trio.sleep(seconds)

    def publish(self, project_id: str, frame: str) -> None:
        """Send an event's frame to the project's sockets. The world calls it for each event."""
        self.subscriptions.publish(project_id, frame, self.faults.take_copies())

    async def _resume_later(self, project_id: str | None, seconds: float) -> None:
        await trio.sleep(seconds)
        self.resume(project_id)

    def overview(self) -> dict[str, Any]:
        """The number of sockets of each project."""
        return {name: len(self.subscriptions.of(name)) for name in self.world.projects}
