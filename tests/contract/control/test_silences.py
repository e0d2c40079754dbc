"""Silences by hand, over the control API and without an agent."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from aintandem_notify.control.client.backend import ControlBackend, open_backend
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.store import open_storage
from support.control import open_scene

T = TypeVar("T")
CONFIG = """
[orchestrator]
url = "http://localhost:9900"
[[projects]]
id = "p"
[plugins.file_log.a]
path = "log.jsonl"
[store]
url = "sqlite:///store.db"
"""


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[None]:
    async with open_scene(folder) as scene:
        scene.clock.time = SystemClock().now()
        yield


@asynccontextmanager
async def offline(folder: Path) -> AsyncIterator[None]:
    async with open_storage(folder / "store.db"):
        pass
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


def later(**delta: float) -> datetime:
    return SystemClock().now() + timedelta(**delta)


async def test_a_silence_is_added_listed_and_ended(config: Path) -> None:
    two_hours = later(hours=2)
    added = await call(
        config,
        lambda backend: backend.add_silence(
            {"task": "train-*", "project": "sales"}, expires_at=two_hours, owner="ana", reason="a migration"
        ),
    )
    other = await call(
        config, lambda backend: backend.add_silence({"rule": "r"}, expires_at=later(hours=1), owner="", reason="")
    )
    assert (added.matchers, added.expires_at, added.owner, added.reason, added.held) == (
        {"task": "train-*", "project": "sales"},
        two_hours,
        "ana",
        "a migration",
        0,
    )
    listed = await call(config, lambda backend: backend.silences())
    assert listed.silences == (other, added)  # the next to end first
    ended = await call(config, lambda backend: backend.end_silences([added.id]))
    assert ended.silences == (added,)
    assert (await call(config, lambda backend: backend.silences())).silences == (other,)


async def test_an_unknown_silence_ends_none(config: Path) -> None:
    added = await call(
        config, lambda backend: backend.add_silence({"rule": "r"}, expires_at=later(hours=1), owner="", reason="")
    )
    for ids in ([added.id, "nonsense"], ["nonsense"]):
        with pytest.raises(RequestRefused, match=f"^no silence nonsense is active; active are: {added.id}$"):
            await call(config, lambda backend, ids=ids: backend.end_silences(ids))  # type: ignore[misc]
    assert len((await call(config, lambda backend: backend.silences())).silences) == 1


@pytest.mark.parametrize(
    ("matchers", "hours", "sentence"),
    [
        ({}, 1, "a silence needs one of project, task, workflow, sandbox, rule, destination, type; it holds"),
        ({"tusk": "x"}, 1, "unknown: tusk; a silence matches project, task"),
        ({"task": " "}, 1, "task should be a name or a glob"),
        ({"task": "x\0"}, 1, "task should be one line of text, without control characters"),
        ({"task": "x\udcff"}, 1, "task should be one line of text, without control characters"),
        ({"task": "x" * 501}, 1, "task should have at most 500 characters"),
        ({"task": "x"}, -1, "a silence should end in the future"),
        (
            {"task": "x"},
            24 * 367,
            'a silence lasts 366 days at the most; a rule with notify = "nobody" has no end',
        ),
    ],
)
async def test_a_silence_that_makes_no_sense_is_refused(
    config: Path, matchers: dict[str, str], hours: int, sentence: str
) -> None:
    with pytest.raises(RequestRefused) as refusal:
        await call(
            config,
            lambda backend: backend.add_silence(matchers, expires_at=later(hours=hours), owner="", reason=""),
        )
    assert str(refusal.value).startswith(sentence)
    assert (await call(config, lambda backend: backend.silences())).silences == ()


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/silences", {}, 'matchers should be an object of globs, as {"task": "train-*"}'),
        ("/silences", {"matchers": {"task": 1}}, 'matchers should be an object of globs, as {"task": "train-*"}'),
        ("/silences", {"matchers": {"task": "x"}}, "expires_at is missing: the time at which the silence ends"),
        (
            "/silences",
            {"matchers": {"task": "x"}, "expires_at": "soon"},
            "expires_at should be a time, as 2026-03-01T12:00:00Z",
        ),
        (
            "/silences",
            {"matchers": {"task": "x"}, "for": "2h"},
            "unknown: for; a silence has expires_at, matchers, owner, reason",
        ),
        ("/silences/end", {}, 'name the ids, and nothing else, as {"ids": ["3f9a2b1c"]}'),
        ("/silences/end", {"ids": "x"}, "ids should be a list of texts"),
    ],
)
async def test_a_wrong_request_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: object, sentence: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with open_scene(tmp_path) as scene:
        assert await scene.request("POST", path, body) == (400, {"error": sentence})
