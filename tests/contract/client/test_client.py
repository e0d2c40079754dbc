"""The settings of a client, and its block."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from aintandem_notify import AInTandemClient, ConfigError, Disconnected, FileTokens, MemoryTokens
from aintandem_notify.client.validation import RULES
from aintandem_notify.simulator.simulation import Simulator
from support.clients import client_of, logged_in
from support.raw_orchestrator import RawOrchestrator


def paths(raw: RawOrchestrator) -> list[str]:
    return [request.path.removeprefix("/api") for request in raw.requests]


SECONDS = "should be a number of seconds above 0"
COUNT = "should be a whole number of at least 0"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "localhost:9900"}, "base_url: should begin with http:// or https://"),
        ({"base_url": "simulator"}, "base_url: should begin with http:// or https://"),
        ({"base_url": None}, "base_url: should begin with http:// or https://"),
        ({"base_url": "http://"}, "base_url: should begin with http:// or https://"),
        ({"base_url": "http://u:canary@h"}, "base_url: should not hold a login; call client.auth.login"),
        ({"base_url": "http://h/?a=1"}, "base_url: should end before the ? or #; the API's paths are added to it"),
        ({"reconnect_attempts": -1}, f"reconnect_attempts: {COUNT}, or None for no limit"),
        ({"reconnect_attempts": "unlimited"}, f"reconnect_attempts: {COUNT}, or None for no limit"),
        ({"reconnect_attempts": True}, f"reconnect_attempts: {COUNT}, or None for no limit"),
        ({"connect_timeout": 0}, f"connect_timeout: {SECONDS}"),
        ({"connect_timeout": "500ms"}, f"connect_timeout: {SECONDS}"),
        ({"request_timeout": "5"}, f"request_timeout: {SECONDS}"),
        ({"request_timeout": float("nan")}, f"request_timeout: {SECONDS}"),
        ({"heartbeat_interval": None}, f"heartbeat_interval: {SECONDS}"),
        ({"reconnect_initial_delay": True}, f"reconnect_initial_delay: {SECONDS}"),
        ({"reconnect_max_delay": float("inf")}, "reconnect_max_delay: is longer than a hundred years"),
        ({"history_limit": -1}, f"history_limit: {COUNT}"),
        ({"history_limit": None}, f"history_limit: {COUNT}"),
        ({"result_limit": 1.5}, f"result_limit: {COUNT}"),
        ({"proxy": "canary"}, "proxy: should be a proxy's address that begins with http:// or https://"),
        ({"proxy": 5}, "proxy: should be a proxy's address that begins with http:// or https://"),
        ({"ca_file": "/does/not/exist"}, "ca_file: cannot use /does/not/exist: No such file or directory"),
        ({"ca_file": __file__}, f"ca_file: cannot use {__file__}: no certificates"),
        ({"ca_file": 5}, "ca_file: should be the path of a PEM file"),
        ({"ca_file": "a\0b"}, "ca_file: should be the path of a PEM file"),
        ({"token": ""}, "token: should be one word of plain letters, digits and signs"),
        ({"token": "canary canary"}, "token: should be one word of plain letters, digits and signs"),
        ({"token": 5}, "token: should be one word of plain letters, digits and signs"),
        ({"tokens": "tokens.json"}, 'tokens: should be a token store, as FileTokens("path")'),
        (
            {"token": "canary", "tokens": MemoryTokens()},
            "tokens: should not be given together with token: there is no login to store",
        ),
        ({"on_error": 5}, "on_error: should be a function or another callable"),
    ],
)
def test_a_setting_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        AInTandemClient(**{"base_url": "http://h", **settings})
    assert str(wrong.value) == f"AInTandemClient: {message}"


def test_all_invalid_settings_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as wrong:
        AInTandemClient("h", connect_timeout=-1, history_limit=-1)
    assert [problem.key for problem in wrong.value.problems] == ["base_url", "connect_timeout", "history_limit"]


def test_each_setting_has_its_rule() -> None:
    assert set(RULES) | {"clock"} == set(inspect.signature(AInTandemClient).parameters)


async def test_it_is_used_inside_of_its_block_and_once(simulator: Simulator) -> None:
    client = client_of(simulator)
    for name in ("auth", "projects", "tasks", "workflows", "sandboxes", "progress"):
        with pytest.raises(RuntimeError, match="outside of its `async with`"):
            getattr(client, name)
    for name, message in (
        ("nothing", "'AInTandemClient' object has no attribute 'nothing'"),
        ("subscribeToTask", "has no attribute 'subscribeToTask'; it is called subscribe_to_task here"),
        ("subscribeToEverything", "has no attribute 'subscribeToEverything'"),
    ):
        with pytest.raises(AttributeError, match=f"{message}$"):
            getattr(client, name)
    async with client:
        assert client.get_progress() is client.progress
    with pytest.raises(RuntimeError, match="outside of its `async with`"):
        await client.call("GET", "/health")
    with pytest.raises(RuntimeError, match="was used before"):
        await client.__aenter__()
    await trio.lowlevel.checkpoint()


async def test_a_part_cannot_be_used_after_the_block(simulator: Simulator) -> None:
    outside = "outside of its `async with`"
    async with logged_in(simulator) as client:
        auth, progress, tasks, sandboxes = client.auth, client.progress, client.tasks, client.sandboxes
        assert hasattr(client, "auth")
        subscription = await progress.subscribe_to_progress("project-123", print)
    assert not hasattr(client, "auth")
    for ask in (
        lambda: auth.login("admin", "admin123"),
        auth.logout,
        auth.refresh,
        auth.verify,
        auth.token,
        lambda: progress.connect("project-123"),
        lambda: progress.subscribe_to_progress("project-123", print),
        lambda: progress.events("project-123").__aenter__(),
        lambda: progress.disconnect("project-123"),
        progress.disconnect_all,
        lambda: tasks.get_task("project-123", "t"),
        lambda: anext(tasks.list_tasks("project-123")),
        sandboxes.list,
    ):
        for _ in range(2):
            with pytest.raises(RuntimeError, match=outside):
                await ask()
    for look in (
        auth.is_authenticated,
        lambda: auth.token_expires_at,
        lambda: progress.is_connected("project-123"),
        lambda: progress.history("project-123"),
        progress.clear_history,
        lambda: progress.on_connection_state("project-123", print),
    ):
        with pytest.raises(RuntimeError, match=outside):
            look()
    subscription.unsubscribe()
    assert not subscription.is_active


async def test_a_call_that_waits_when_the_block_is_left(raw: RawOrchestrator) -> None:
    """A call of another task raises Disconnected, and the HTTP client stays open until the call has ended."""
    ended: list[str] = []
    raw.delays["GET /api/workflows/projects/p/executions"] = trio.Event()

    async def ask(client: AInTandemClient) -> None:
        with pytest.raises(Disconnected, match="the client's block was left"):
            await client.workflows.list_executions("p")
        ended.append("list_executions")

    async with trio.open_nursery() as nursery:
        async with logged_in(raw) as client:
            nursery.start_soon(ask, client)
            while paths(raw)[-1] != "/workflows/projects/p/executions":
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert ended == ["list_executions"]


def test_asyncio_is_refused(tmp_path: Path) -> None:
    async def use() -> None:
        async with AInTandemClient("http://localhost:9", tokens=FileTokens(tmp_path / "t")):
            raise AssertionError("it was entered")

    with pytest.raises(RuntimeError, match="AInTandemClient needs trio"):
        asyncio.run(use())
