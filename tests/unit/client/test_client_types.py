"""The library's types: mypy accepts a correct program and rejects a wrong one."""

import re
import subprocess
import sys
from pathlib import Path

GOOD = """
from typing import assert_type

from aintandem_notify import (
    AInTandemClient,
    Event,
    ProgressEvent,
    SandboxEvent,
    TaskCompletedEvent,
    TaskEvent,
    TaskFailed,
    UnknownEvent,
    WorkflowEvent,
)


def on_event(event: Event) -> None:
    print(event.type)


async def on_progress(event: ProgressEvent) -> None:
    match event:
        case TaskEvent():
            print(event.task_id)
        case WorkflowEvent():
            print(event.execution_id)
        case SandboxEvent():
            print(event.sandbox_id)
        case _:
            assert_type(event, UnknownEvent)


def on_complete(event: TaskCompletedEvent) -> None:
    print(event.duration)


async def main(client: AInTandemClient) -> None:
    unsubscribe = await client.subscribe_to_task("p", "t", on_event, on_complete)
    unsubscribe()
    await client.subscribe_to_task("p", "t", print, lambda event: print(event.output), lambda event: event.error)
    await client.subscribe_to_workflow("p", on_progress, on_failed=lambda event: print(event.error))
    await client.progress.subscribe_to_progress("p", on_progress)
    async with client.progress.events("p") as events:
        async for event in events:
            assert_type(event, ProgressEvent)
    assert_type(client.progress.history("p"), list[ProgressEvent])
    try:
        result = await client.run_task("p", "x", on_event=on_progress)
    except TaskFailed as failed:
        assert_type(failed.events, tuple[TaskEvent | UnknownEvent, ...])
    else:
        assert_type(result.events, tuple[TaskEvent | UnknownEvent, ...])
"""
BAD = """
from aintandem_notify import AInTandemClient, TaskCompletedEvent, TaskEvent, WorkflowEvent


def on_complete(event: TaskCompletedEvent) -> None:
    print(event.outptu)  # attr-defined


def on_workflow(event: WorkflowEvent) -> None:
    print(event.task_id)  # attr-defined


def on_task(event: TaskEvent) -> None:
    pass


async def main(client: AInTandemClient) -> None:
    client.subscribeToTask  # attr-defined
    await client.subscribe_to_task("p", "t", print, on_workflow)  # arg-type
    await client.subscribe_to_task("p", "t", on_task)  # arg-type
    await client.subscribe_to_task("p", "t", print, lambda event: print(event.error))  # attr-defined
    await client.subscribe_to_workflow("p", on_complete)  # arg-type
    await client.progress.subscribe_to_progress("p", on_task)  # arg-type
    result = await client.run_task("p", "x", on_event=on_complete)  # arg-type
    print(result.events[0].task_id)  # union-attr
"""
CONFIG = """
[mypy]
strict = true
plugins = pydantic.mypy
[mypy-{strangers}]
follow_imports = skip
"""
STRANGERS = (
    "anyio", "attr", "click", "h11", "httpcore", "httpx", "hypercorn", "jinja2", "outcome", "pluggy", "rich",
    "starlette", "structlog", "tree_sitter", "trio", "trio_websocket", "wsproto",
)  # fmt: skip
"""Internal imports of the library; following them would take mypy some seconds more."""


def test_mypy_reports_the_mistakes_and_nothing_else(tmp_path: Path) -> None:
    config = CONFIG.format(strangers=",".join(f"{name}.*" for name in STRANGERS))
    for name, text in {"mypy.ini": config, "good.py": GOOD, "bad.py": BAD}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    options = (
        *("--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path / "cache")),
        *("--no-error-summary", "--hide-error-context"),
    )
    programs = [str(tmp_path / name) for name in ("good.py", "bad.py")]
    # Not with mypy's API: it changes the recursion limit of this process.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *programs], check=False, capture_output=True, text=True
    )
    output = done.stdout + done.stderr
    reported = re.findall(r"(\w+\.py):(\d+): error: .*\[([\w-]+)\]$", output, re.MULTILINE)
    lines = enumerate(BAD.splitlines(), start=1)
    expected = [("bad.py", str(number), line.split("# ")[1]) for number, line in lines if "  # " in line]
    assert reported == expected, output
