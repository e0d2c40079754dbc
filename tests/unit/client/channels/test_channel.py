"""One channel of the library over links with a planned behaviour, in virtual time."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify.client.channels.callbacks import CallbackRunner
from aintandem_notify.client.channels.channel import Channel, ChannelContext
from aintandem_notify.client.channels.connection_events import ConnectionChange, Listener
from aintandem_notify.client.channels.event_filter import ALL_TASKS, SubscriptionFilter
from aintandem_notify.client.channels.subscriber_queue import CAPACITY, QueueClosed, SubscriberQueue
from aintandem_notify.client.lifetime import ClientLifetime
from aintandem_notify.config import ConnectionConfig
from aintandem_notify.domain.events import Family
from aintandem_notify.errors import Disconnected, HttpFailed, LinkGivenUp, LinkLost, ProjectGone
from aintandem_notify.orchestrator import WatchSettings
from aintandem_notify.orchestrator.auth.login_status import LoginStatus
from aintandem_notify.orchestrator.auth.tokens import Token, TokenOrigin
from aintandem_notify.orchestrator.link.reconnect_policy import ConnectionTrouble
from aintandem_notify.orchestrator.protocol.address import SocketTarget, socket_target
from aintandem_notify.orchestrator.watch.project import LAST_COMMIT_S
from aintandem_notify.orchestrator.watch.settings import EventSink
from support.raw_orchestrator import event_text
from support.trio_clock import TrioClock

TOKEN = Token("T", TokenOrigin.STATIC)


def frames(first: int, last: int) -> list[str]:
    return [event_text("output", "p", taskId="t-1", output=str(number)) for number in range(first, last)]


def numbers(events: Sequence[Any]) -> list[int]:
    return [int(event.output) for event in events]


class PlannedLink:
    """A link that returns its batches and then waits until ``cut``.

    ``unread`` are frames read but not yet returned.
    """

    def __init__(self, batches: Sequence[list[str]]) -> None:
        self._batches = deque(batches)
        self.cut = trio.Event()
        self.unread: list[str] = []

    @property
    def last_received_at(self) -> float:
        return trio.current_time()

    async def receive_batch(self) -> list[str | bytes]:
        if self._batches:
            return list(self._batches.popleft())
        await self.cut.wait()
        raise LinkLost("cut")

    def take_buffered(self) -> list[str | bytes]:
        unread = [frame for batch in self._batches for frame in batch] + self.unread
        self._batches.clear()
        self.unread = []
        return list(unread)

    async def run(self) -> None:
        await trio.sleep_forever()

    async def finish(self) -> None:
        await trio.lowlevel.checkpoint()


@dataclass
class World:
    """Plans for the next connections: an error, or the batches of the link."""

    plans: deque[Exception | Sequence[list[str]]] = field(default_factory=deque)
    tries: list[float] = field(default_factory=list)
    links: list[PlannedLink] = field(default_factory=list)
    changes: list[ConnectionChange] = field(default_factory=list)
    lifetime: ClientLifetime = field(default_factory=ClientLifetime)
    closing: trio.Event | None = None

    async def token(self) -> Token:
        return TOKEN

    async def renew(self, refused: Token) -> Token:
        return refused

    @property
    def login_status(self) -> LoginStatus:
        return LoginStatus()

    def note_accepted(self, token: Token) -> None:
        pass

    def socket(self, project_id: str, token: Token) -> SocketTarget:
        return socket_target("http://h/api", project_id, token.text)

    @asynccontextmanager
    async def connect(self, _: SocketTarget) -> AsyncIterator[PlannedLink]:
        self.tries.append(trio.current_time())
        plan = self.plans.popleft() if self.plans else ()
        if isinstance(plan, Exception):
            raise plan
        link = PlannedLink(plan)
        self.links.append(link)
        try:
            yield link
        finally:
            if self.closing is not None:
                with trio.CancelScope(shield=True):
                    await self.closing.wait()
        link.cut.set()

    def channel(
        self, nursery: trio.Nursery, *, history: int = 1000, listens: bool = True, **connection: Any
    ) -> Channel:
        clock = TrioClock()

        def watch_settings(sink: EventSink) -> WatchSettings:
            return WatchSettings(
                session=self,
                connect=self.connect,
                backoff=ConnectionConfig.model_construct(**{**ConnectionConfig().model_dump(), **connection}),
                sink=sink,
                clock=clock,
                chance=lambda: 1.0,
                fatal=frozenset({ConnectionTrouble.REFUSED, ConnectionTrouble.GONE}),
                reports_every_try=True,
            )

        context = ChannelContext(
            lifetime=self.lifetime,
            nursery=nursery,
            api=None,  # type: ignore[arg-type]  # nothing is looked up here
            watch_settings=watch_settings,
            callback_runner=CallbackRunner(None),
            clock=clock,
            chance=lambda: 1.0,
            history_limit=history,
        )
        channel = Channel("p", context)
        if not listens:
            return channel
        listener = Listener(self.changes.append)
        channel.add_listener(listener)
        nursery.start_soon(listener.run, context.callback_runner)
        return channel


async def test_a_dead_server_gets_eleven_tries(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World()
    world.plans += [LinkLost(f"no {number}") for number in range(20)]
    channel = world.channel(nursery, reconnect_attempts=10)
    with pytest.raises(LinkGivenUp, match="no 10") as given_up:
        await channel.keep_open()
    assert (given_up.value.project_id, str(given_up.value.__cause__)) == ("p", "no 10")
    assert str(given_up.value).startswith("project p: ")
    assert world.tries == [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181]
    await trio.testing.wait_all_tasks_blocked()
    assert [(change.type, change.error, change.will_reconnect) for change in world.changes] == [
        ("error", f"no {number}", number < 10) for number in range(11)
    ]
    assert (channel.state, channel.is_kept_open) == ("disconnected", False)


@pytest.mark.parametrize("observer", ["nobody", "a listener", "a stream", "one who waits"])
async def test_an_end_without_another_observer_is_logged(
    nursery: trio.Nursery, autojump_clock: MockClock, observer: str
) -> None:
    world = World()
    world.plans += [(), LinkLost("no 1"), LinkLost("no 2")]
    channel = world.channel(nursery, listens=observer == "a listener", reconnect_attempts=1)
    with capture_logs() as logs, channel.registration(SubscriberQueue(SubscriptionFilter(), persistent=True)):
        await channel.wait_connected()
        with channel.registration(SubscriberQueue(SubscriptionFilter(), persistent=observer != "a stream")):
            world.links[0].cut.set()
            if observer == "one who waits":
                await trio.testing.wait_all_tasks_blocked()
                assert channel.state == "reconnecting"
                with pytest.raises(LinkGivenUp):
                    await channel.wait_connected()
            await trio.sleep(100)
            assert channel.state == "disconnected"
    ends = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert ends == ["disconnected", *(["the connection is given up"] if observer == "nobody" else [])]


async def test_a_request_for_a_token_that_is_never_answered(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World()
    world.plans += [HttpFailed("no DNS")] * 2
    channel = world.channel(nursery, reconnect_attempts=1)
    with pytest.raises(LinkGivenUp, match="no DNS") as given_up:
        await channel.keep_open()
    assert given_up.value.code == 1006


async def test_each_waiting_task_gets_an_error_of_its_own(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world, errors = World(), []
    world.plans += [ProjectGone("gone")]
    channel = world.channel(nursery)

    async def wait() -> None:
        with pytest.raises(ProjectGone, match="gone") as gone:
            await channel.keep_open()
        errors.append(gone.value)

    async with trio.open_nursery() as waiting:
        for _ in range(3):
            waiting.start_soon(wait)
    assert len({id(error) for error in errors}) == 3
    assert world.tries == [0]


async def test_a_link_that_is_lost_behind_a_slow_reader_loses_nothing(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Frames that were read while the queue was full are delivered once, although their link is gone."""
    world = World()
    received: list[int] = []
    n = CAPACITY
    world.plans += [[frames(0, n)], [frames(n + 5, n + 9)]]
    channel, queue = world.channel(nursery), SubscriberQueue(SubscriptionFilter(), persistent=True)
    async with channel.open(queue):
        await trio.testing.wait_all_tasks_blocked()
        world.links[0].unread = frames(n, n + 5)
        world.links[0].cut.set()
        await trio.sleep(10 * LAST_COMMIT_S)
        with trio.fail_after(1000):
            while len(received) < n + 9:
                received += numbers(await queue.take())
    assert received == list(range(n + 9))


async def test_disconnecting_a_slow_reader_loses_nothing_that_was_read(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World()
    world.plans.append([frames(0, CAPACITY), frames(CAPACITY, CAPACITY + 10)])
    channel, queue = world.channel(nursery), SubscriberQueue(SubscriptionFilter(), persistent=True)
    async with channel.open(queue):
        await trio.testing.wait_all_tasks_blocked()
        assert queue.is_full
        await channel.disconnect()
        assert trio.current_time() == 0, "it waits for nobody"
        assert numbers(await queue.take()) == list(range(CAPACITY + 10))


async def test_streams_end_and_callbacks_stay(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World()
    channel, stream, persistent = (
        world.channel(nursery),
        SubscriberQueue(SubscriptionFilter()),
        SubscriberQueue(SubscriptionFilter(), persistent=True),
    )
    with channel.registration(stream), channel.registration(persistent):
        await channel.keep_open()
        await channel.disconnect()
        with pytest.raises(QueueClosed):
            await stream.take()
        assert not persistent.is_closed
        world.plans.append([frames(0, 1)])
        await channel.keep_open()
        assert numbers(await persistent.take()) == [0]


BATCHES = st.lists(st.integers(0, 5), max_size=12)


@given(
    BATCHES,
    st.integers(0, 8),
    st.integers(0, 12),
    st.sampled_from([SubscriptionFilter(), ALL_TASKS, SubscriptionFilter(Family.SANDBOX)]),
)
def test_history_holds_the_newest_events(
    sizes: list[int], limit: int, reads: int, event_filter: SubscriptionFilter
) -> None:
    """For every split of the frames into batches, and every time at which the reader takes them."""

    async def check() -> None:
        world, total = World(), sum(sizes)
        starts = [sum(sizes[:n]) for n in range(len(sizes))]
        world.plans.append(
            [frames(start, start + size) for start, size in zip(starts, sizes, strict=True) if size]
        )
        received: list[int] = []
        async with trio.open_nursery() as nursery:
            channel, queue = world.channel(nursery, history=limit), SubscriberQueue(event_filter)
            async with channel.open(queue):
                for _ in range(reads):
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked()
                remembered = numbers(channel.history.events())
                assert remembered == list(range(total))[max(0, total - limit) :]
                if total and event_filter.family is not Family.SANDBOX:
                    received += numbers(await queue.take())
                    assert received == list(range(total))
            nursery.cancel_scope.cancel()

    trio.run(check, clock=MockClock(autojump_threshold=0))


async def test_a_removed_listener_gets_no_changes(nursery: trio.Nursery) -> None:
    received: list[ConnectionChange] = []
    world = World()
    channel = world.channel(nursery)
    listener = Listener(received.append)
    channel.add_listener(listener)
    channel.remove_listener(listener)
    channel.remove_listener(listener)
    await channel.keep_open()
    await channel.disconnect()
    await trio.testing.wait_all_tasks_blocked()
    assert received == []
    assert [change.type for change in world.changes] == ["connected", "disconnecting", "disconnected"]


async def test_until_the_socket_is_closed_it_is_disconnecting(nursery: trio.Nursery) -> None:
    closing = trio.Event()
    world = World(closing=closing)
    channel = world.channel(nursery)
    await channel.keep_open()
    channel.is_kept_open = False
    channel._stop_if_unused()  # as the last unsubscribe does
    assert channel.state == "disconnecting"
    await trio.testing.wait_all_tasks_blocked()
    assert (channel.state, world.changes[-1].type) == ("disconnecting", "disconnecting")
    async with trio.open_nursery() as waiting:
        waiting.start_soon(channel.keep_open)
        await trio.testing.wait_all_tasks_blocked()
        assert (channel.state, len(world.links)) == ("disconnecting", 1)
        closing.set()
    assert channel.state == "connected"
    await trio.testing.wait_all_tasks_blocked()
    assert [change.type for change in world.changes] == [
        "connected",
        "disconnecting",
        "disconnected",
        "connected",
    ]
    assert [change.will_reconnect for change in world.changes] == [True, False, False, True]


async def test_a_loss_while_it_is_being_closed_is_the_end_that_was_wished(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World()
    channel = world.channel(nursery)
    await channel.keep_open()
    await trio.testing.wait_all_tasks_blocked()
    world.links[0].cut.set()
    await channel.disconnect()
    await trio.testing.wait_all_tasks_blocked()
    assert [(change.type, change.code, change.will_reconnect) for change in world.changes] == [
        ("connected", None, True),
        ("disconnecting", None, False),
        ("disconnected", 1000, False),
    ]


async def test_a_connection_that_was_never_open_closes_silently(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World()
    world.plans += [LinkLost("no")]
    channel = world.channel(nursery)
    async with trio.open_nursery() as waiting:
        waiting.start_soon(channel.keep_open)
        await trio.testing.wait_all_tasks_blocked()
        assert channel.state == "reconnecting"
        waiting.cancel_scope.cancel()
    await channel.disconnect()
    assert channel.state == "disconnected"
    await trio.testing.wait_all_tasks_blocked()
    assert [change.type for change in world.changes] == ["error"]


async def test_nothing_is_connected_once_the_block_is_closing(nursery: trio.Nursery) -> None:
    world = World()
    channel, queue = world.channel(nursery), SubscriberQueue(SubscriptionFilter())
    world.lifetime.is_closing = True
    for connect in (channel.keep_open, channel.open(queue).__aenter__):
        with pytest.raises(Disconnected, match="project p: the client's block was left"):
            await connect()
    await channel.disconnect()
    assert (world.tries, channel.state) == ([], "disconnected")
