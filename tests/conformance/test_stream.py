"""One recorded stream of frames, sent to the official SDK and to this library at once; the results are
compared."""

import math
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from aintandem_notify import AInTandemClient
from aintandem_notify.config import ProjectConfig
from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.events.event_types import WIRE_MODELS
from aintandem_notify.orchestrator.watch.composition import MAX_EVENT_CHARACTERS
from support.raw_orchestrator import open_raw_orchestrator
from support.sdk import Sdk, callback, logged_in
from support.stream import PROJECT, Line, read_stream
from support.watching import watching

LINES = read_stream()
DIFFERENCES = tomllib.loads((Path(__file__).parent / "differences.toml").read_text(encoding="utf-8"))


@dataclass
class StreamResult:
    """The events of the stream: in the SDK's callbacks, in the agent's sink and in this library's callback."""

    sdk: Sdk
    client: AInTandemClient
    agent: list[Event] = field(default_factory=list)
    library: list[Event] = field(default_factory=list)


@asynccontextmanager
async def feed_stream(**subscriptions: tuple[Any, ...]) -> AsyncIterator[StreamResult]:
    """The results of all three readers of the stream. The SDK's subscriptions are named in its ``heard``."""
    async with (
        open_raw_orchestrator() as raw,
        logged_in(raw.url) as sdk,
        watching(raw, ProjectConfig(id=PROJECT)) as (_, journal),
        AInTandemClient(raw.url, history_limit=len(LINES)) as client,
    ):
        result, ended = StreamResult(sdk, client), trio.Event()

        def on_event(event: Event) -> None:
            result.library.append(event)
            if is_end([event.wire()]):
                ended.set()

        await client.auth.login("admin", "admin123")
        await client.progress.subscribe_to_progress(PROJECT, on_event)
        await sdk.call("getProgress()", "subscribeToProgress", given=(PROJECT, callback("all")))
        for name, (function, *given) in subscriptions.items():
            await sdk.call(function, given=(PROJECT, *given, callback(name)))
        stream = b"".join(line.wire for line in LINES)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon((await raw.connections.receive()).blast, stream)
        await sdk.until(lambda: is_end(sdk.heard["all"][-1:]))
        await ended.wait()
        while not is_end([event.wire() for _, event in journal.events[-1:]]):
            await journal.more()
        result.agent = [event for _, event in journal.events if event.family is not Family.CONNECTION]
        yield result


def is_end(last: list[dict[str, Any]]) -> bool:
    return bool(last) and last[0].get("sandboxId") == "the-end"


def differing(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    """The fields that are missing or different in one of the two."""
    return {
        name for name in first | second if name not in first or name not in second or first[name] != second[name]
    }


def compare(
    line: Line, sdk: Iterator[dict[str, Any]], ours: Iterator[dict[str, Any]], max_length: float = math.inf
) -> None:
    """Check the event of each library for the line. This library cuts texts longer than ``max_length``."""
    if line.only is None:
        theirs, mine = next(sdk), next(ours)
        cut = {name for name, text in theirs.items() if isinstance(text, str) and len(text) > max_length}
        assert differing(theirs, mine) == line.differs | cut
        assert differing(mine, line.event) <= line.differs | cut
    elif line.only == "sdk":
        assert next(sdk)["type"] == line.event["type"]
    elif line.only == "ours":
        assert next(ours) == line.event


async def test_all_report_the_same_events_except_for_the_differences() -> None:
    async with feed_stream() as result:
        pass
    for events, max_length in ((result.agent, MAX_EVENT_CHARACTERS), (result.library, math.inf)):
        theirs, ours = iter(result.sdk.heard["all"]), iter([event.wire() for event in events])
        for line in LINES:
            compare(line, theirs, ours, max_length)
        assert list(theirs) == []
        assert list(ours) == []


async def test_subscriptions_to_one_run() -> None:
    def first(kind: str) -> dict[str, Any]:
        return next(line.event for line in LINES if line.only is None and line.event["type"] == kind)

    task = first("step_progress")["taskId"]
    run, box = first("workflow_execution_created"), first("sandbox_started")["sandboxId"]
    async with feed_stream(
        task=("subscribeToTask", task),
        box=("subscribeToSandbox",),
        run=("subscribeToWorkflow",),
    ) as result:
        history, sdk = result.client.progress.history, result.sdk
        ours = [event.wire() for event in history(PROJECT, task_id=task)]
        assert [event for event in ours if event["type"].startswith("task_")] == [
            event for event in sdk.heard["task"] if "taskId" in event
        ]
        assert {"step_progress", "output"} <= {event["type"] for event in ours}
        ours = [event.wire() for event in history(PROJECT, sandbox_id=box)]
        assert of(sdk.heard["box"], "sandboxId", box) == ours
        ours = [event.wire() for event in history(PROJECT, execution_id=run["executionId"])]
        assert of(sdk.heard["run"], "executionId", run["executionId"]) == ours


def of(events: list[dict[str, Any]], field: str, identity: str) -> list[dict[str, Any]]:
    return [event for event in events if event.get(field) == identity]


def test_the_stream_holds_every_type_and_invalid_frames() -> None:
    assert {line.event["type"] for line in LINES if line.only is None} == set(WIRE_MODELS)
    assert len([line for line in LINES if line.only == "none"]) > 20
    assert len(LINES) > 3000


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_difference_is_in_the_stream(name: str) -> None:
    assert name in {line.why for line in LINES}


def test_every_line_with_a_difference_has_a_reason() -> None:
    for line in LINES:
        if line.only in ("sdk", "ours") or line.differs:
            assert line.why in DIFFERENCES
        else:
            assert line.why is None
