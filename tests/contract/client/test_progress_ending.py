"""Cancelling, leaving the block, and exceptions in it, while sockets are open."""

import pytest
import trio
import trio.testing

from aintandem_notify import AInTandemClient, Disconnected, Event
from aintandem_notify.simulator.simulation import Simulator
from support.clients import logged_in
from support.raw_orchestrator import RawOrchestrator, Refuse, event_text, frame

P = "project-123"


async def test_cancelling_leaves_nothing_behind(raw: RawOrchestrator) -> None:
    raw.default_upgrade = Refuse(503)
    async with logged_in(raw, reconnect_initial_delay=1000, reconnect_max_delay=1000) as client:
        for wait in (
            lambda: client.progress.connect(P),
            lambda: client.progress.subscribe_to_progress(P, print),
            lambda: client.progress.events(P).__aenter__(),
        ):
            with trio.move_on_after(0.05) as scope:
                await wait()
            assert scope.cancelled_caught
            while client.progress.get_connection_state(P) != "disconnected":
                await trio.lowlevel.checkpoint()


async def test_a_cancelled_connect_keeps_an_open_connection(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        await client.progress.connect(P)
        simulator.drop(P)
        while client.progress.is_connected(P):
            await trio.lowlevel.checkpoint()
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.progress.connect(P)
        await client.progress.connect(P)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert client.progress.is_connected(P)


async def test_a_cancelled_connect_leaves_the_connection_to_others(simulator: Simulator) -> None:
    async with logged_in(simulator) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.progress.connect, P)
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.progress.connect(P)
        await client.progress.connect(P)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert client.progress.is_connected(P)


async def test_leaving_ends_every_task_and_socket(raw: RawOrchestrator) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, print)
        await client.subscribe_to_task("project-456", "t1", print)
        client.progress.on_connection_state("nobody", print)
        assert trio.lowlevel.current_statistics().tasks_living > before + 4
    while raw._streams:
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert [socket.close_code for socket in raw.sockets] == [1000, 1000], "each with a word of goodbye"


async def test_a_stuck_callback_does_not_hold_the_end_back(raw: RawOrchestrator) -> None:
    stuck = trio.Event()

    async def hang(_: Event) -> None:
        stuck.set()
        await trio.sleep_forever()

    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, hang)
        await (await raw.connections.receive()).send_event("task_started", taskId="t1")
        await stuck.wait()


async def test_events_that_were_read_are_delivered_before_the_end(
    raw: RawOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aintandem_notify.client.client.GRACE_S", 60.0)  # even if the machine stalls
    received: list[str | None] = []
    first = trio.Event()

    async def slow(event: Event) -> None:
        first.set()
        await socket.closed.wait()
        received.append(event.run_id)

    async with logged_in(raw) as client:
        await client.progress.subscribe_to_progress(P, slow)
        socket = await raw.connections.receive()
        await socket.send_bytes_raw(b"".join(frame(event_text("output", P, taskId=str(n))) for n in range(5)))
        await first.wait()
    assert received == ["0", "1", "2", "3", "4"]


class Mine(Exception):
    """An exception of the program."""


async def test_an_exception_of_the_block_comes_out_as_it_is(simulator: Simulator) -> None:
    with pytest.raises(Mine) as mine:
        async with logged_in(simulator) as client, client.progress.events(P):
            raise Mine
    assert mine.value.__context__ is None
    group = ExceptionGroup("two", [Mine(), ValueError()])
    with pytest.raises(ExceptionGroup) as two:
        async with logged_in(simulator):
            raise group
    assert two.value is group


async def test_a_callback_that_ends_the_program(simulator: Simulator) -> None:
    def leave(_: Event) -> None:
        raise SystemExit(3)

    async def use() -> None:
        async with logged_in(simulator) as client:
            await client.progress.subscribe_to_progress(P, leave)
            simulator.sandboxes.create(P)
            await trio.sleep_forever()

    with pytest.raises(SystemExit):
        await use()


async def test_a_cancelled_block(simulator: Simulator) -> None:
    with trio.CancelScope() as scope:
        async with logged_in(simulator) as client:
            await client.progress.subscribe_to_progress(P, print)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await simulator.wait_unsubscribed(P)


async def test_waiting_tasks_when_the_client_closes(raw: RawOrchestrator) -> None:
    raw.default_upgrade = Refuse(503)
    ended: list[str] = []

    async def wait(client: AInTandemClient) -> None:
        with pytest.raises(Disconnected):
            await client.progress.connect(P)
        ended.append("connect")

    slowly = {"reconnect_initial_delay": 1000, "reconnect_max_delay": 1000}
    async with trio.open_nursery() as nursery, logged_in(raw, **slowly) as client:
        nursery.start_soon(wait, client)
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert ended == ["connect"]
