"""Both backends give the same responses: that of a running agent, and that of its store without an agent."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from aintandem_notify.control.client.backend import (
    NO_STORE_YET,
    SIMULATOR_STORES_NOTHING,
    ControlBackend,
    NoStore,
    check_health,
    open_backend,
)
from aintandem_notify.control.deliveries import AdminAction
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.schemas import PauseResponse
from aintandem_notify.delivery.gate import GateState
from aintandem_notify.errors import ConfigError, StoreDamaged, StoreError
from aintandem_notify.store import (
    DeliveryFilter,
    DeliveryState,
    GateRow,
    Storage,
    Store,
    latest_quarantined_name,
    open_storage,
)
from aintandem_notify.store.tables.delivery_admin import MAX_SCANNED
from support.control import DESTINATION, open_scene
from support.outbox import NOW, event, inside, queue_up

T = TypeVar("T")
Ask = Callable[[Callable[[ControlBackend], T]], Awaitable[T]]
OTHER = "slack.other"
CONFIG = """
[orchestrator]
url = "http://localhost:9900"
[[projects]]
id = "p"
[plugins.file_log.a]
path = "log.jsonl"
[plugins.slack.other]
webhook_url = { env = "NOT_SET_IN_THIS_SHELL" }
[store]
url = "sqlite:///store.db"
"""


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "config.toml").write_text(CONFIG)


async def call(config: Path, question: Callable[[ControlBackend], T]) -> T:
    """Returns the backend's result, as a command gets it, in a separate thread."""

    def answer() -> T:
        with open_backend(config) as backend:
            return question(backend)

    return await trio.to_thread.run_sync(answer)


def _set_paused(backend: ControlBackend, *, paused: bool) -> PauseResponse:
    return backend.set_paused([DESTINATION], paused=paused)


THREE = ("t0", "t1", "t2")


async def three_waiting(storage: Storage, tasks: Sequence[str] = THREE) -> None:
    await storage.run(queue_up([event("task_failed", task) for task in tasks], (OTHER,)))


@asynccontextmanager
async def running(folder: Path, tasks: Sequence[str] = THREE) -> AsyncIterator[None]:
    async with open_scene(folder) as scene:
        await three_waiting(scene.storage, tasks)
        yield


@asynccontextmanager
async def offline(folder: Path, tasks: Sequence[str] = THREE) -> AsyncIterator[None]:
    async with open_storage(folder / "store.db") as storage:
        await three_waiting(storage, tasks)
    yield


@pytest.fixture(params=[running, offline], ids=["running", "offline"])
async def config(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Path]:
    async with request.param(tmp_path):
        yield tmp_path / "config.toml"


async def test_deliveries_are_listed_in_pages(config: Path) -> None:
    page = await call(
        config, lambda backend: backend.page(DeliveryFilter(destination=OTHER), limit=2, before=None)
    )
    assert ([entry.id for entry in page.deliveries], page.next) == ([3, 2], 2)
    page = await call(
        config, lambda backend: backend.page(DeliveryFilter(destination=OTHER), limit=2, before=page.next)
    )
    assert ([entry.id for entry in page.deliveries], page.next) == ([1], None)
    assert (page.deliveries[0].title, page.deliveries[0].state) == ("task_failed t0", DeliveryState.QUEUED)


NAMED = [
    event("task_failed", "train-1", task="Train the big model"),
    event("task_failed", "train-2", task="Train the [small] model", project="p2"),
    event("workflow_execution_failed", executionId="exec-7", workflowId="nightly"),
    event("sandbox_error", sandboxId="box-9"),
]
"""Their deliveries get the ids 4 to 7, after those of ``three_waiting``."""


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (DeliveryFilter(task="train-1"), [4]),
        (DeliveryFilter(task="train-*"), [5, 4]),
        (DeliveryFilter(task="Train the big model"), [4]),
        (DeliveryFilter(task="Train the [small] model"), [5]),
        (DeliveryFilter(task="Train*"), [5, 4]),
        (DeliveryFilter(task="exec-7"), [6]),
        (DeliveryFilter(task="nightly"), [6]),
        (DeliveryFilter(task="box-?"), [7]),
        (DeliveryFilter(task="train"), []),
        (DeliveryFilter(task="TRAIN-1"), []),
        (DeliveryFilter(task="["), []),
        (DeliveryFilter(project="p2"), [5]),
        (DeliveryFilter(project="Sal*"), [7, 6, 5, 4, 3, 2, 1]),
        (DeliveryFilter(project="p2", task="train-1"), []),
        (DeliveryFilter(task="t?", destination=OTHER), [3, 2, 1]),
        (DeliveryFilter(task="t*", states=(DeliveryState.DEAD,)), []),
    ],
)
async def test_deliveries_are_selected_by_project_and_task(
    tmp_path: Path, selection: DeliveryFilter, ids: list[int]
) -> None:
    async with open_scene(tmp_path) as scene:
        await three_waiting(scene.storage)
        await scene.storage.run(queue_up(NAMED, (OTHER,)))
        page = await call(scene.config, lambda backend: backend.page(selection, limit=200, before=None))
    assert ([entry.id for entry in page.deliveries], page.next) == (ids, None)
    queued = replace(selection, states=())
    dropped = await call(scene.config, lambda backend: backend.apply_to_all(AdminAction.DROP, queued))  # offline
    assert selection.states or dropped.ids == tuple(sorted(ids))


@pytest.mark.parametrize("opened", [running, offline])
async def test_a_search_by_name_goes_on_until_its_page_is_full(
    opened: Callable[[Path, Sequence[str]], AbstractAsyncContextManager[None]], tmp_path: Path
) -> None:
    tasks = ["t0", *(f"another{number}" for number in range(MAX_SCANNED)), "t2"]
    last, selection = len(tasks), DeliveryFilter(task="t[02]")
    async with opened(tmp_path, tasks):
        ask = partial(call, tmp_path / "config.toml")
        page = await ask(lambda backend: backend.page(selection, limit=1, before=None))
        assert ([entry.id for entry in page.deliveries], page.next) == ([last], last)
        page = await ask(lambda backend: backend.page(selection, limit=1, before=page.next))
        assert ([entry.id for entry in page.deliveries], page.next) == ([1], None)
        dropped = await ask(lambda backend: backend.apply_to_all(AdminAction.DROP, selection))
    assert dropped.ids == (1, last)


@pytest.mark.parametrize("name", ["slack.nobody", "slack", "Slack.other"])
async def test_a_destination_that_nobody_knows_is_refused_with_the_names(config: Path, name: str) -> None:
    unknown = DeliveryFilter(destination=name)
    questions: list[Callable[[ControlBackend], object]] = [
        lambda backend: backend.page(unknown, limit=9, before=None),
        lambda backend: backend.apply_to_all(AdminAction.DROP, unknown),
        lambda backend: backend.apply_to_all(AdminAction.RETRY, unknown),
    ]
    for question in questions:
        with pytest.raises(RequestRefused) as caught:
            await call(config, question)
        assert caught.value.status == 404
        assert str(caught.value) == f"there is no destination {name}; there are: {DESTINATION}, {OTHER}"


async def test_a_configured_destination_without_a_delivery_has_none(config: Path) -> None:
    none = await call(
        config, lambda backend: backend.page(DeliveryFilter(destination=DESTINATION), limit=9, before=None)
    )
    assert none.deliveries == ()


async def test_a_destination_with_history_only_is_known(config: Path) -> None:
    name_other_otherwise(config)
    page = await call(
        config, lambda backend: backend.page(DeliveryFilter(destination=OTHER), limit=9, before=None)
    )
    assert len(page.deliveries) == 3


async def test_destinations_are_listed(config: Path) -> None:
    await call(config, partial(_set_paused, paused=True))
    listed = (await call(config, lambda backend: backend.destinations())).destinations
    by_name = {entry.name: entry for entry in listed}
    assert by_name.keys() == {DESTINATION, OTHER}
    paused, other = by_name[DESTINATION], by_name[OTHER]
    assert (paused.state, paused.queued, paused.oldest, paused.retry_at) == ("paused", 0, None, None)
    assert paused.since is not None
    assert (other.queued, other.oldest) == (3, NOW)


async def test_a_backing_off_destination_is_listed_with_its_next_try(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    row = GateRow(
        GateState.BACKING_OFF, 3, now, retry_at=now + timedelta(hours=2), last_error="HTTP 503", since=now
    )
    async with offline(tmp_path), open_storage(tmp_path / "store.db") as storage:
        await storage.run(inside(lambda store: store.gates.write(OTHER, row, "")))
    listed = (await call(tmp_path / "config.toml", lambda backend: backend.destinations())).destinations
    (entry,) = (entry for entry in listed if entry.name == OTHER)
    assert (entry.state, entry.last_error, entry.since) == ("backing off", "HTTP 503", now)
    assert entry.retry_at is not None
    assert abs(entry.retry_at - row.retry_at) < timedelta(seconds=1)  # type: ignore[operator]  # it is set above


async def test_one_is_shown(config: Path) -> None:
    detail = await call(config, lambda backend: backend.show("2"))
    assert (detail.id, detail.destination, detail.in_flight) == (2, OTHER, False)
    assert detail.content is not None
    for reference, status in (("9", 404), ("nonsense", 400)):
        with pytest.raises(RequestRefused) as caught:
            await call(config, lambda backend, reference=reference: backend.show(reference))  # type: ignore[misc]
        assert caught.value.status == status


async def test_one_that_waits_says_what_for(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    async with offline(tmp_path):
        pass
    assert (await call(config, lambda backend: backend.show("1"))).held is None
    await call(config, lambda backend: backend.set_paused([OTHER], paused=True))
    hold = (await call(config, lambda backend: backend.show("1"))).held
    assert hold is not None
    assert (hold.state, hold.retry_at, hold.last_error) == ("paused", None, None)
    held = {row.name: row.since for row in (await call(config, lambda backend: backend.status())).destinations}
    assert held[OTHER] is not None
    await call(config, lambda backend: backend.set_paused([OTHER], paused=False))
    held = {row.name: row.since for row in (await call(config, lambda backend: backend.status())).destinations}
    assert set(held.values()) == {None}


async def test_one_that_waits_for_an_earlier_one_of_its_run_names_it(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        news = [event("task_started", "t"), event("task_failed", "t"), event("task_failed", "another")]
        await scene.storage.run(queue_up(news, (OTHER,)))
        detail = await call(scene.config, lambda backend: [backend.show(entry) for entry in ("1", "2", "3")])
    assert [entry.behind for entry in detail] == [None, 1, None]


async def test_they_are_dropped_and_retried(config: Path) -> None:
    dropped = await call(config, lambda backend: backend.apply(AdminAction.DROP, ["1"]))
    assert (dropped.count, dropped.ids, dropped.refused) == (1, (1,), ())
    dropped_others = await call(
        config, lambda backend: backend.apply_to_all(AdminAction.DROP, DeliveryFilter(destination=OTHER))
    )
    assert dropped_others.ids == (2, 3)
    dead = DeliveryFilter(states=(DeliveryState.DEAD,))
    assert len((await call(config, lambda backend: backend.page(dead, limit=9, before=None))).deliveries) == 3
    again = await call(config, lambda backend: backend.apply(AdminAction.RETRY, ["1", "77"]))
    assert (again.ids, [entry.reason for entry in again.refused]) == ((1,), ["there is no such delivery"])
    with pytest.raises(RequestRefused, match="retry is for deliveries that are dead or folded"):
        await call(
            config,
            lambda backend: backend.apply_to_all(
                AdminAction.RETRY, DeliveryFilter(states=(DeliveryState.QUEUED,))
            ),
        )


async def test_a_destination_is_paused_and_resumed(config: Path) -> None:
    for paused, changed in ((True, True), (True, False), (False, True), (False, False)):
        change = await call(config, partial(_set_paused, paused=paused))
        assert [(entry.name, entry.changed) for entry in change.destinations] == [(DESTINATION, changed)]


async def test_none_of_several_is_paused_when_one_is_unknown(config: Path) -> None:
    with pytest.raises(RequestRefused, match=r"no destination slack\.nobody, conf/a1\.toml; ") as caught:
        await call(
            config, lambda backend: backend.set_paused([DESTINATION, "slack.nobody", "conf/a1.toml"], paused=True)
        )
    assert caught.value.status == 404
    change = await call(config, lambda backend: backend.set_paused([DESTINATION, DESTINATION], paused=True))
    assert [(entry.name, entry.changed) for entry in change.destinations] == [(DESTINATION, True)]


def name_other_otherwise(config: Path) -> None:
    config.write_text(CONFIG.replace("[plugins.slack.other]", "[plugins.slack.renamed]"))


async def test_a_queue_of_what_is_not_configured_any_more_is_shown(config: Path) -> None:
    name_other_otherwise(config)
    destinations = (await call(config, lambda backend: backend.status())).destinations
    assert [(entry.name, entry.state, entry.queued) for entry in destinations if entry.queued] == [
        (OTHER, "not configured", 3)
    ]
    assert all(entry.oldest is not None for entry in destinations if entry.queued)


async def test_an_empty_destination_is_not_every_one(config: Path) -> None:
    with contextlib.suppress(RequestRefused):
        assert (
            await call(
                config, lambda backend: backend.apply_to_all(AdminAction.DROP, DeliveryFilter(destination=""))
            )
        ).count == 0
    page = await call(
        config, lambda backend: backend.page(DeliveryFilter(states=(DeliveryState.QUEUED,)), limit=9, before=None)
    )
    assert len(page.deliveries) == 3


async def test_a_pause_without_an_agent_is_there_at_the_next_start(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    async with offline(tmp_path):
        await call(config, lambda backend: backend.set_paused([DESTINATION], paused=True))
    status = await call(config, lambda backend: backend.status())
    assert status.agent is None
    assert status.trouble == "no agent runs with this config"
    assert [(entry.name, entry.state, entry.queued) for entry in status.destinations] == [
        (DESTINATION, "paused", 0),
        (OTHER, None, 3),
    ]
    async with open_scene(tmp_path):
        destination, _ = (await call(config, lambda backend: backend.status())).destinations
        assert (destination.name, destination.state) == (DESTINATION, "paused")


async def test_where_there_is_nothing_to_look_into_that_is_said(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    with pytest.raises(NoStore, match=NO_STORE_YET):
        await call(config, lambda backend: backend.status())
    assert not (tmp_path / "store.db").exists()
    config.write_text('[orchestrator]\nurl = "simulator"\n')
    with pytest.raises(NoStore, match=SIMULATOR_STORES_NOTHING):
        await call(config, lambda backend: backend.status())
    with pytest.raises(RequestRefused, match="no agent runs"):
        check_health(config, "/healthz")


async def test_only_the_plugins_of_a_running_agent_can_be_asked(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        scene.facts = lambda: {"bytes": 3}
        assert (await call(scene.config, lambda backend: backend.plugin(DESTINATION))).facts == {"bytes": 3}
    with pytest.raises(RequestRefused, match="no agent runs with this config, so no plugin can be asked"):
        await call(scene.config, lambda backend: backend.plugin(DESTINATION))


async def test_a_store_in_other_hands_is_left_alone(tmp_path: Path) -> None:
    async with open_storage(tmp_path / "store.db"):
        with pytest.raises(RequestRefused, match="an agent runs on this store but cannot be reached"):
            await call(tmp_path / "config.toml", lambda backend: backend.status())


async def test_a_config_that_names_no_store_is_told_with_its_line(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    for text, words in (
        ("[store]\nurl = 3", r"config\.toml:2: store\.url"),
        ("[store", "not TOML"),
        ('[store]\nurl = { env = "NOT_SET_IN_THIS_SHELL" }', "NOT_SET_IN_THIS_SHELL is not set"),
    ):
        config.write_text(text)
        with pytest.raises(ConfigError, match=words):
            await call(config, lambda backend: backend.status())
    config.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        await call(config, lambda backend: backend.status())


async def test_a_running_agent_is_asked_though_its_config_is_gone(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        scene.config.unlink()
        status = await call(scene.config, lambda backend: backend.status())
        assert status.agent is not None
        assert (await trio.to_thread.run_sync(check_health, scene.config, "/readyz")).ok
        scene.phase = "starting"
        answer = await trio.to_thread.run_sync(check_health, scene.config, "/readyz")
        assert (answer.ok, answer.health) == (False, "the agent is starting")


async def test_trouble_of_the_store_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("this is no database " * 100)
    with pytest.raises(StoreError, match="store"):
        await call(tmp_path / "config.toml", lambda backend: backend.status())


@pytest.mark.parametrize("kept_bytes", [0, 50, 8192])
async def test_a_damaged_store_stays_in_its_place_until_an_agent_starts(tmp_path: Path, kept_bytes: int) -> None:
    config, store = tmp_path / "config.toml", tmp_path / "store.db"
    async with offline(tmp_path):
        os.truncate(store, kept_bytes)
    for _ in range(2):
        with pytest.raises(StoreDamaged, match="it is damaged or was emptied, and stays as it is for now"):
            await call(config, lambda backend: backend.status())
    assert store.stat().st_size == kept_bytes
    with pytest.raises(StoreDamaged, match="it was put aside"):
        Store(store)
    aside = latest_quarantined_name(store)
    assert aside is not None
    with pytest.raises(NoStore, match=f"is put aside as {aside}, and the next agent begins with an empty store"):
        await call(config, lambda backend: backend.status())
    Store(store).close()
    assert (await call(config, lambda backend: backend.status())).destinations == ()


async def test_without_an_agent_every_database_answers(store_url: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    if store_url == "sqlite://":
        return  # no other process could open it
    config.write_text(CONFIG.replace("sqlite:///store.db", store_url))
    async with open_storage(store_url) as storage:
        await three_waiting(storage)
    assert (await call(config, lambda backend: backend.apply(AdminAction.DROP, ["1"]))).ids == (1,)
    dropped = await call(
        config, lambda backend: backend.apply_to_all(AdminAction.DROP, DeliveryFilter(destination=OTHER))
    )
    assert dropped.ids == (2, 3)
    assert (await call(config, lambda backend: backend.apply(AdminAction.RETRY, ["3"]))).ids == (3,)
    assert (await call(config, lambda backend: backend.show("3"))).state is DeliveryState.QUEUED
    change = await call(config, lambda backend: backend.set_paused([DESTINATION], paused=True))
    assert [entry.changed for entry in change.destinations] == [True]
    status = await call(config, lambda backend: backend.status())
    assert [(entry.name, entry.state, entry.queued) for entry in status.destinations] == [
        (DESTINATION, "paused", 0),
        (OTHER, None, 1),
    ]
    page = await call(
        config, lambda backend: backend.page(DeliveryFilter(destination=OTHER), limit=2, before=None)
    )
    assert ([entry.id for entry in page.deliveries], page.next) == ([3, 2], 2)


async def test_a_ctrl_c_closes_the_store(tmp_path: Path) -> None:
    async with offline(tmp_path):
        pass

    def end_at_once(*_: object) -> None:
        raise AssertionError("the process would have ended with an open store")

    before = signal.signal(signal.SIGINT, end_at_once)
    try:
        with pytest.raises(KeyboardInterrupt), open_backend(tmp_path / "config.toml"):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is end_at_once
    finally:
        signal.signal(signal.SIGINT, before)
    async with open_storage(tmp_path / "store.db"):  # refused as in use if it was still open
        pass
