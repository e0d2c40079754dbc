"""Episodes over the control API and without an agent: the same answers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from aintandem_notify.control.client.backend import ControlBackend, open_backend
from aintandem_notify.control.episodes.changes import Snooze
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.explain.explainer import Explainer
from aintandem_notify.domain.events import Event, event_from
from aintandem_notify.errors import ConfigError
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.ingest import open_ingest
from aintandem_notify.plugins.config_loading import load
from aintandem_notify.stages.pipeline import StagePolicy
from aintandem_notify.store import DeliveryFilter, Storage, open_storage
from support.control import open_scene
from support.outbox import PROJECT

T = TypeVar("T")
CONFIG = """
[orchestrator]
url = "http://localhost:9900"
token = "a-token-of-the-test"
[[projects]]
id = "p"
[plugins.file_log.a]
path = "log.jsonl"
[store]
url = "sqlite:///store.db"
[[rules]]
name = "failures"
events = ["task_failed"]
notify = ["file_log.a"]
[[rules.escalate]]
after = "30m"
notify = ["file_log.a"]
"""


async def fail_two_tasks(config: Path, storage: Storage) -> None:
    loaded, clock = load(config), SystemClock()
    async with open_ingest(
        storage, router=loaded.router, clock=clock, publish=lambda *_: None, wake=lambda _names: None
    ) as ingest:
        ingest.use(loaded.router, StagePolicy.of(loaded.config))
        ingest.releases.begin(lambda _project: True)
        for name in ("import", "export"):
            frame = {"type": "task_failed", "taskId": name, "task": name, "projectId": "p"}
            stamp = {"timestamp": clock.now().isoformat()}
            event = event_from(frame | stamp, "p", clock.now())
            assert isinstance(event, Event)
            await ingest.commit(PROJECT, [event])


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[None]:
    async with open_scene(folder) as scene:
        scene.clock.time = SystemClock().now()
        scene.explainer = Explainer(load(scene.config).config)
        await fail_two_tasks(scene.config, scene.storage)
        yield


@asynccontextmanager
async def offline(folder: Path) -> AsyncIterator[None]:
    async with open_storage(folder / "store.db") as storage:
        await fail_two_tasks(folder / "config.toml", storage)
    yield


@pytest.fixture(params=[running, offline], ids=["running", "offline"])
async def config(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Path]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "config.toml").write_text(CONFIG)
    async with request.param(tmp_path):
        yield tmp_path / "config.toml"


async def call(config: Path, question: Callable[[ControlBackend], T]) -> T:
    def answer() -> T:
        with open_backend(config) as backend:
            return question(backend)

    return await trio.to_thread.run_sync(answer)


async def test_episodes_are_listed_acknowledged_snoozed_and_ended(config: Path) -> None:
    found = await call(config, lambda backend: backend.episodes(with_ended=False))
    first, second = found.episodes
    assert (found.count, found.trouble, [told.destination for told in first.told]) == (2, None, ["file_log.a"])
    assert [wait.action for wait in first.waits] == ["escalate", "expire"]
    assert (await call(config, lambda backend: backend.status())).episodes == 2

    noted = await call(config, lambda backend: backend.acknowledge([first.id[:10], second.id], "ana"))
    assert [(episode.id, episode.acknowledged_by, episode.changed) for episode in noted.episodes] == [
        (first.id, "ana", True),
        (second.id, "ana", True),
    ]
    found = await call(config, lambda backend: backend.episodes(with_ended=False))
    assert [[wait.action for wait in episode.waits] for episode in found.episodes] == [["expire"], ["expire"]]

    until = SystemClock().now() + timedelta(hours=2)
    silence = await call(config, lambda backend: backend.snooze(Snooze(first.id, until, "ana", "later")))
    assert (silence.matchers, silence.expires_at) == ({"project": "p", "task": "import"}, until)
    assert (await call(config, lambda backend: backend.silences())).silences == (silence,)

    ended = await call(config, lambda backend: backend.end_episodes([first.id, first.id]))
    [episode] = ended.episodes
    assert (episode.id, episode.recipients, episode.untold, episode.ended_by) == (
        first.id,
        ("file_log.a",),
        None,
        "hand",
    )
    deliveries = await call(config, lambda backend: backend.page(DeliveryFilter(), limit=9, before=None))
    assert deliveries.deliveries[0].title is not None
    assert deliveries.deliveries[0].title.startswith("Ended by hand after ")
    found = await call(config, lambda backend: backend.episodes(with_ended=True))
    assert [(episode.id, episode.ended_by) for episode in found.episodes] == [
        (second.id, None),
        (first.id, "hand"),
    ]


@pytest.mark.parametrize("ask", ["end", "acknowledge", "snooze"])
async def test_an_unknown_id_is_refused_with_those_that_are_open(config: Path, ask: str) -> None:
    until = SystemClock().now() + timedelta(hours=2)
    questions: dict[str, Callable[[ControlBackend], object]] = {
        "end": lambda backend: backend.end_episodes(["ep_0000"]),
        "acknowledge": lambda backend: backend.acknowledge(["ep_0000"], "ana"),
        "snooze": lambda backend: backend.snooze(Snooze("ep_0000", until)),
    }
    with pytest.raises(RequestRefused, match=r"^there is no episode ep_0000; open are: ep_\w{16}, ep_\w{16}$"):
        await call(config, questions[ask])


async def test_a_name_that_cannot_be_stored_is_refused(config: Path) -> None:
    [first, _] = (await call(config, lambda backend: backend.episodes(with_ended=False))).episodes
    until = SystemClock().now() + timedelta(hours=2)
    for name in ("x\0", "x\udcff", "x" * 501):
        with pytest.raises(RequestRefused, match=r"^owner should "):
            await call(config, lambda backend, name=name: backend.acknowledge([first.id], name))  # type: ignore[misc]
        with pytest.raises(RequestRefused, match=r"^owner should "):
            await call(config, lambda backend, name=name: backend.snooze(Snooze(first.id, until, name)))  # type: ignore[misc]
    [again, _] = (await call(config, lambda backend: backend.episodes(with_ended=False))).episodes
    assert again == first


async def test_a_config_that_cannot_be_read_here_shows_episodes_but_ends_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    async with offline(tmp_path):
        config.write_text(CONFIG.replace('path = "log.jsonl"', 'path = "env:NOT_SET_HERE"\nrate = "fast"'))
        found = await call(config, lambda backend: backend.episodes(with_ended=False))
        assert found.trouble is not None
        assert found.trouble.startswith("the rules cannot be asked, as the config cannot be read here: ")
        assert [episode.waits for episode in found.episodes] == [(), ()]
        with pytest.raises(ConfigError):
            await call(config, lambda backend: backend.end_episodes([found.episodes[0].id]))
        assert (await call(config, lambda backend: backend.episodes(with_ended=True))).count == 2


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/episodes/end", {}, 'name the ids, and nothing else, as {"ids": ["ep_3f9a2b"]}'),
        ("/episodes/end", {"ids": []}, "ids should be a list of texts"),
        (
            "/episodes/acknowledge",
            {"by": "ana"},
            'name the ids, and who acknowledges, as {"ids": ["ep_3f9a2b"], "by": "ana"}',
        ),
        ("/episodes/acknowledge", {"ids": ["ep_123"], "by": 7}, "by should be a text"),
        (
            "/episodes/snooze",
            {"expires_at": "2026-03-01T12:00:00Z"},
            'id is missing: that of an episode, as "ep_3f9a2b"',
        ),
        ("/episodes/snooze", {"id": "ep_123"}, "expires_at is missing: the time at which the silence ends"),
        (
            "/episodes/snooze",
            {"id": "ep_123", "for": 1},
            "unknown: for; a snooze has expires_at, id, owner, reason",
        ),
    ],
)
async def test_a_wrong_request_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: object, sentence: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with open_scene(tmp_path) as scene:
        assert await scene.request("POST", path, body) == (400, {"error": sentence})


async def test_a_wrong_query_is_refused_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with open_scene(tmp_path) as scene:
        assert await scene.request("GET", "/episodes?all=yes") == (400, {"error": "all should be true or false"})
        status, answer = await scene.request("GET", "/episodes?project=p")
        assert (status, answer) == (400, {"error": "unknown: project; /episodes accepts all"})
