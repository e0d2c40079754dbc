"""One recorded stream of frames, sent to the official SDK and to us in one go, and what each made of it."""

import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aintandem_notify.config import ProjectConfig
from aintandem_notify.events import Event, Family
from aintandem_notify.events.table import WIRE_MODELS
from support.raw_orchestrator import open_raw_orchestrator
from support.sdk import Sdk, callback, logged_in
from support.stream import PROJECT, Line, read_stream
from support.watching import Journal, arrivals, watching

LINES = read_stream()
DIFFERENCES = tomllib.loads((Path(__file__).parent / "differences.toml").read_text(encoding="utf-8"))


@asynccontextmanager
async def both_fed(**subscriptions: tuple[Any, ...]) -> AsyncIterator[tuple[Sdk, list[Event]]]:
    """The SDK and our events after both were sent the stream; the SDK's subscriptions are named in ``heard``."""
    async with (
        open_raw_orchestrator() as raw,
        logged_in(raw.url) as sdk,
        watching(raw, ProjectConfig(id=PROJECT)) as (_, journal),
    ):
        ours = (await arrivals(raw, 1))[PROJECT]
        await sdk.call("getProgress()", "subscribeToProgress", given=(PROJECT, callback("all")))
        for name, (function, *given) in subscriptions.items():
            await sdk.call(function, given=(PROJECT, *given, callback(name)))
        theirs = (await arrivals(raw, 1))[PROJECT]
        stream = b"".join(line.wire for line in LINES)
        for socket in (ours, theirs):
            await socket.blast(stream)
        await sdk.until(lambda: is_end(sdk.heard["all"][-1:]))
        while not is_end([event.wire() for event in of_the_wire(journal)[-1:]]):
            await journal.more()
        yield sdk, of_the_wire(journal)


def of_the_wire(journal: Journal) -> list[Event]:
    return [event for _, event in journal.events if event.family is not Family.CONNECTION]


def is_end(last: list[dict[str, Any]]) -> bool:
    return bool(last) and last[0].get("sandboxId") == "the-end"


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """The fields that one has and the other has not, or has otherwise."""
    return {name for name in one | other if name not in one or name not in other or one[name] != other[name]}


def compare(line: Line, sdk: Iterator[dict[str, Any]], ours: Iterator[dict[str, Any]]) -> None:
    """That the line became of each library what it says."""
    if line.only is None:
        theirs, mine = next(sdk), next(ours)
        assert differing(theirs, mine) == line.differs
        assert differing(mine, line.event) <= line.differs
    elif line.only == "sdk":
        assert next(sdk)["type"] == line.event["type"]
    elif line.only == "ours":
        assert next(ours) == line.event


async def test_both_tell_of_the_same_events_but_for_the_differences() -> None:
    async with both_fed() as (sdk, events):
        theirs, ours = iter(sdk.heard["all"]), iter([event.wire() for event in events])
        for line in LINES:
            compare(line, theirs, ours)
    assert list(theirs) == []
    assert list(ours) == []


async def test_subscriptions_to_one_run() -> None:
    def first(kind: str) -> dict[str, Any]:
        return next(line.event for line in LINES if line.only is None and line.event["type"] == kind)

    task = first("step_progress")["taskId"]
    run, box = first("workflow_execution_created"), first("sandbox_started")["sandboxId"]
    async with both_fed(
        task=("subscribeToTask", task),
        box=("subscribeToSandbox",),
        run=("subscribeToWorkflow",),
    ) as (sdk, events):
        ours = [event.wire() for event in events if event.run_id == task]
        assert [event for event in ours if event["type"].startswith("task_")] == [
            event for event in sdk.heard["task"] if "taskId" in event
        ]
        assert {"step_progress", "output"} <= {event["type"] for event in ours}
        assert of(sdk.heard["box"], "sandboxId", box) == [e.wire() for e in events if e.run_id == box]
        assert of(sdk.heard["run"], "executionId", run["executionId"]) == [
            e.wire() for e in events if e.run_id == run["executionId"]
        ]


def of(events: list[dict[str, Any]], field: str, identity: str) -> list[dict[str, Any]]:
    return [event for event in events if event.get(field) == identity]


def test_the_stream_holds_every_type_and_what_is_none() -> None:
    assert {line.event["type"] for line in LINES if line.only is None} == set(WIRE_MODELS)
    assert len([line for line in LINES if line.only == "none"]) > 20
    assert len(LINES) > 3000


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_difference_is_in_the_stream(name: str) -> None:
    assert name in {line.why for line in LINES}


def test_every_line_that_differs_says_why() -> None:
    for line in LINES:
        if line.only in ("sdk", "ours") or line.differs:
            assert line.why in DIFFERENCES
        else:
            assert line.why is None
