"""The quick and the tolerant way agree on every frame that a test, a page or the simulator holds."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from aintandem_notify.simulator import demo
from support.both_ways import P, assert_same, is_quick
from support.event_frames import BY_TYPE
from support.nasty.texts import FIELDS, IDS, IMPOSSIBLE_IDS, TEXTS, UNFIT_FIELDS
from support.nasty.times import TIMES
from support.simulated import simulated
from support.stream import read_stream

ROOT = Path(__file__).parents[4]
PAGES = [page for pattern in ("*.md", "docs/**/*.md", "plugins/*/*.md") for page in ROOT.glob(pattern)]
TYPES = sorted(BY_TYPE)
ID_NAMES = ("taskId", "executionId", "workflowId", "sandboxId", "containerId", "container_id", "projectId", "type")
ANY_IDS = {**IDS, **IMPOSSIBLE_IDS}


def encoded(frame: dict[str, Any]) -> Iterator[bytes]:
    """The frame as JavaScript and as other languages write it."""
    yield json.dumps(frame, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    yield json.dumps(frame).encode()


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a JSON value."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


def test_the_recorded_stream() -> None:
    for line in read_stream():
        assert_same(line.content.encode())


def test_the_pages() -> None:
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"^```json\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    ]
    frames = [found for block in blocks for found in objects(json.loads(block)) if found.get("type") in BY_TYPE]
    assert len(frames) >= 3
    for frame in frames:
        for text in encoded(frame):
            assert_same(text)


async def test_an_hour_of_the_simulator(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    with simulated(nursery, seed=5) as simulator:
        await demo.all_types(simulator, P)
        nursery.start_soon(demo.run_demo, simulator, [P])
        await trio.sleep(600)
        frames = list(simulator.world.history)
        assert {frame["type"] for frame in frames} == set(TYPES)
        for frame in frames:
            for text in encoded(frame):
                assert is_quick(text)
                assert_same(text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_nasty_text(text: str) -> None:
    for kind in ("task_failed", "output"):
        frame = BY_TYPE[kind]
        for name in ("error", "output", "step", "artifact", "unknown"):
            for whole in encoded(frame | {name: text}):
                assert_same(whole)


@pytest.mark.parametrize("value", ANY_IDS.values(), ids=ANY_IDS)
def test_a_nasty_id(value: Any) -> None:
    for kind in TYPES:
        for name in ID_NAMES:
            for whole in encoded(BY_TYPE[kind] | {name: value}):
                assert_same(whole)


@pytest.mark.parametrize("value", FIELDS.values(), ids=FIELDS)
def test_a_nasty_field(value: Any) -> None:
    for kind in ("task_completed", "artifact", "workflow_execution_created"):
        for name in ("output", "input", "artifact", "unknown"):
            for whole in encoded(BY_TYPE[kind] | {name: value}):
                assert_same(whole)


@pytest.mark.parametrize("text", UNFIT_FIELDS.values(), ids=UNFIT_FIELDS)
def test_an_unfit_field(text: str) -> None:
    for name in ("output", "input", "progress", "exitCode", "step", "unknown"):
        for kind in ("step_progress", "task_queued", "sandbox_stopped"):
            whole = json.dumps(BY_TYPE[kind] | {name: "here"}).replace('"here"', text)
            assert_same(whole.encode())


@pytest.mark.parametrize("value", TIMES.values(), ids=TIMES)
def test_a_nasty_time(value: Any) -> None:
    for kind in TYPES:
        for whole in encoded(BY_TYPE[kind] | {"timestamp": value}):
            assert_same(whole)
