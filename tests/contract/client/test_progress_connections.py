"""Connections of the library and their listeners, over real sockets."""

from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from aintandem_notify import (
    AuthenticationFailed,
    ConnectionChange,
    ConnectionState,
    LinkGivenUp,
    LinkLost,
    LinkRefused,
    NotLoggedIn,
    ProjectGone,
)
from aintandem_notify.simulator.simulation import Simulator
from support.clients import client_of, logged_in
from support.raw_orchestrator import RawOrchestrator, Refuse
from support.recorder import Recorder

P = "project-123"
CLOSED = ["disconnecting", "disconnected"]


async def test_a_listener_hears_every_change(raw: RawOrchestrator) -> None:
    raw.upgrade_answers += [Refuse(503), Refuse(503)]
    received, states, late = Recorder(), [], Recorder()
    async with logged_in(raw) as client:

        async def listen(change: ConnectionChange) -> None:
            states.append(client.progress.get_connection_state(P))
            received(change)

        stop = client.progress.on_connection_state(P, listen)
        assert client.progress.get_connection_state(P) is ConnectionState.DISCONNECTED
        await client.progress.connect(P)
        await received.count(3)
        late_stop = client.progress.on_connection_state(P, late)
        socket = await raw.connections.receive()
        await socket.close(1012, "restart")
        await raw.connections.receive()
        await received.count(5)
        await late.count(2)
        late_stop()
        await client.progress.disconnect(P)
        await received.count(7)
        stop()
        stop()
        await client.progress.connect(P)
    assert received.types == ["error", "error", "connected", "disconnected", "connected", *CLOSED]
    refused, _, _, lost, _, _, ended = received.all
    assert refused.error == "the orchestrator did not open a WebSocket (HTTP 503)"
    assert (refused.will_reconnect, refused.project_id) == (True, P)
    assert (lost.code, lost.reason, lost.will_reconnect) == (
        1012,
        "the orchestrator restarts (1012: restart)",
        True,
    )
    assert (ended.code, ended.reason, ended.will_reconnect) == (1000, "the program disconnected", False)
    assert late.types == ["disconnected", "connected"]
    assert states[2] == "connected"


async def test_leaving_the_block_is_reported_to_listeners(simulator: Simulator) -> None:
    received = Recorder()
    async with logged_in(simulator) as client:
        client.progress.on_connection_state(P, received)
        await client.progress.connect(P)
    assert received.types == ["connected", *CLOSED]


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Refuse(404), ProjectGone), (Refuse(401), LinkRefused), (Refuse(403), LinkRefused)],
)
async def test_a_wrong_project_and_a_refusal_are_raised_at_once(
    raw: RawOrchestrator, answer: Refuse, error: type[Exception]
) -> None:
    raw.default_upgrade = answer
    received = Recorder()
    async with logged_in(raw, reconnect_initial_delay=1000, reconnect_max_delay=1000) as client:
        client.progress.on_connection_state(P, received)
        for ask in (client.progress.connect, lambda project: client.subscribe_to_sandbox(project, print)):
            with pytest.raises(error, match=f"project {P}: ") as raised:
                await ask(P)
            assert raised.value.project_id == P  # type: ignore[attr-defined]
            assert client.progress.get_connection_state(P) == "disconnected"
        await received.until(lambda received: sum(not change.will_reconnect for change in received.all) == 2)
        with pytest.raises(error):
            async with client.progress.events(P):
                pass


NO_IDS = [("", ValueError), ("..", ValueError), ("x" * 513, ValueError), ("a\ud800", ValueError), (5, TypeError)]


@pytest.mark.parametrize(("wrong", "error"), [*NO_IDS, (None, TypeError)])
async def test_an_invalid_project_affects_no_other(
    simulator: Simulator, wrong: Any, error: type[Exception]
) -> None:
    received = Recorder()
    async with logged_in(simulator) as client:
        progress = client.progress
        await progress.subscribe_to_progress(P, received)
        for ask in (
            lambda: progress.connect(wrong),
            lambda: progress.subscribe_to_progress(wrong, print),
            lambda: client.subscribe_to_task(wrong, "t", print),
            lambda: client.run_task(wrong, "data-analysis"),
            lambda: progress.events(wrong).__aenter__(),
            lambda: progress.disconnect(wrong),
        ):
            with pytest.raises(error, match="project_id "):
                await ask()
        for look in (progress.is_connected, progress.get_connection_state, progress.history):
            with pytest.raises(error, match="project_id "):
                look(wrong)
        with pytest.raises(error, match="project_id "):
            progress.on_connection_state(wrong, print)
        simulator.sandboxes.create(P)
        await received.count(1)


@pytest.mark.parametrize(("wrong", "error"), NO_IDS)
async def test_invalid_ids_of_runs(simulator: Simulator, wrong: Any, error: type[Exception]) -> None:
    async with logged_in(simulator) as client:
        for what, subscribe in (
            ("task_id", lambda: client.subscribe_to_task(P, wrong, print)),
            ("workflow_id", lambda: client.subscribe_to_workflow(P, print, wrong)),
            ("execution_id", lambda: client.subscribe_to_workflow(P, print, execution_id=wrong)),
            ("sandbox_id", lambda: client.subscribe_to_sandbox(P, print, wrong)),
            ("task_id", lambda: client.progress.events(P, task_id=wrong).__aenter__()),
        ):
            with pytest.raises(error, match=f"{what} "):
                await subscribe()
        with pytest.raises(TypeError, match="task_id should be a str, not NoneType"):
            await client.subscribe_to_task(P, None, print)  # type: ignore[arg-type]
        assert not client.progress.is_connected(P)


async def test_callbacks_that_are_not_callable(simulator: Simulator) -> None:
    wrong: Any = 5
    async with logged_in(simulator) as client:
        for what, subscribe in (
            ("on_event", lambda: client.subscribe_to_task(P, "t", wrong)),
            ("on_event", lambda: client.subscribe_to_workflow(P, wrong)),
            ("on_event", lambda: client.subscribe_to_sandbox(P, wrong)),
            ("on_event", lambda: client.progress.subscribe_to_progress(P, wrong)),
            ("on_event", lambda: client.run_task(P, "data-analysis", on_event=wrong)),
            ("the callback for task_failed", lambda: client.subscribe_to_task(P, "t", print, None, wrong)),
        ):
            with pytest.raises(TypeError, match=f"{what} should be a function or another callable, not int"):
                await subscribe()
        with pytest.raises(TypeError, match="on_change should be a function"):
            client.progress.on_connection_state(P, wrong)
        with pytest.raises(TypeError, match="on_event should be a function or another callable, not NoneType"):
            await client.progress.subscribe_to_progress(P, None)  # type: ignore[arg-type]
        assert not client.progress.is_connected(P)
        assert not simulator.world.history, "no task was submitted"


async def test_a_raised_error_is_not_logged_as_well(raw: RawOrchestrator) -> None:
    with capture_logs() as logs:
        async with client_of(raw) as client:
            with pytest.raises(NotLoggedIn):
                await client.progress.connect(P)
            await client.auth.login("admin", "admin123")
            for answer in (Refuse(404), Refuse(401)):
                raw.default_upgrade = answer
                with pytest.raises((ProjectGone, LinkRefused)):
                    await client.progress.connect(P)
        async with client_of(raw, token="not-accepted") as client:
            raw.default_upgrade = Refuse(401)
            with pytest.raises(AuthenticationFailed):
                await client.progress.connect(P)
    assert not [line for line in logs if line["log_level"] not in ("debug", "info")]


async def test_a_login_that_is_refused_later(simulator: Simulator) -> None:
    async with logged_in(simulator) as client:
        async with client.progress.events(P) as events:
            simulator.refuse_logins(100)
            simulator.expire_tokens(refresh_tokens=True, close_code=4401)
            with pytest.raises(AuthenticationFailed, match="invalid username or password"):
                await anext(events)
        assert client.progress.get_connection_state(P) == "disconnected"


async def test_a_dead_server_is_given_up_after_so_many_tries(raw: RawOrchestrator) -> None:
    received = Recorder()
    async with logged_in(raw, reconnect_attempts=3) as client:
        client.progress.on_connection_state(P, received)
        await raw.go_away()
        with pytest.raises(LinkGivenUp, match="no connection, and no try is left") as given_up:
            await client.progress.connect(P)
        assert isinstance(given_up.value, LinkLost)
        assert isinstance(given_up.value.__cause__, LinkLost)
        assert client.progress.get_connection_state(P) == "disconnected"
        await received.count(4)
        assert [change.will_reconnect for change in received.all] == [True, True, True, False]
        raw.come_back()
        await client.progress.connect(P)
        assert client.progress.is_connected(P)


async def test_a_task_that_waits_when_the_connection_is_given_up_gets_an_error(raw: RawOrchestrator) -> None:
    received = Recorder()
    async with logged_in(raw, reconnect_attempts=1) as client:
        await client.progress.subscribe_to_progress(P, received)
        async with client.progress.events(P) as events:
            socket = await raw.connections.receive()
            await socket.send_event("task_started", taskId="t1")
            await raw.go_away()
            assert (await anext(events)).run_id == "t1"
            for _ in range(2):
                with pytest.raises(LinkGivenUp):
                    await anext(events)
        raw.come_back()
        await client.progress.connect(P)
        await (await raw.connections.receive()).send_event("task_started", taskId="t2")
        await received.until(lambda received: received.all[-1].run_id == "t2")


async def test_a_silent_server_is_lost(raw: RawOrchestrator, mock_clock: trio.testing.MockClock) -> None:
    received = Recorder()
    async with logged_in(raw, heartbeat_interval=1.0, connect_timeout=100.0) as client:
        client.progress.on_connection_state(P, received)
        await client.progress.connect(P)
        (await raw.connections.receive()).fall_silent()
        while len(received.all) < 3:
            # In steps: first for the silence, then for the pause before the next try.
            mock_clock.jump(0.1)
            await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.rate = 1.0  # closing takes a moment
        assert received.types == ["connected", "disconnected", "connected"]
        assert "nothing was heard" in received.all[1].reason
