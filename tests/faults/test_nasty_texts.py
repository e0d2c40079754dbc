"""Ends of runs with nasty texts are reported: once, everywhere, and without the secrets in them."""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from support.configs import CANARY
from support.fault_case import PROJECT
from support.fault_counts import Counts
from support.nasty import texts
from support.nasty_case import NastyCase, now, open_nasty_case
from support.raw_orchestrator import event_text, frame

OWN = texts.password_texts(CANARY)
SMALL = {
    **texts.SMALL,
    **{name: entry.text for name, entry in texts.SECRETS.items()},
    **{name: entry.text for name, entry in OWN.items()},
}
SECRETS = [entry.secret for entry in (*texts.SECRETS.values(), *OWN.values())]


def failed_task(task_id: str, text: str, **fields: Any) -> Mapping[str, Any]:
    return {"type": "task_failed", "taskId": task_id, "error": text, **fields}


def everywhere(task_id: str, text: str) -> list[Mapping[str, Any]]:
    """The events before the end of a task, with ``text`` in every text field."""
    about = {"taskId": task_id, "task": text}
    return [
        {"type": "task_queued", "input": {"prompt": text, text[:40]: [text]}, **about},
        {"type": "task_started", **about},
        {"type": "step_progress", "step": text, "stepId": text, "status": text, "message": text, **about},
        {"type": "output", "output": text, **about},
        {"type": "artifact", "artifact": {"path": text, "type": text, "size": 7, "note": text}, **about},
    ]


def row(run: str, text: str, /, **fields: Any) -> dict[str, Any]:
    """The REST record of a failed run."""
    moment = now()
    times = {"createdAt": moment, "startedAt": moment, "completedAt": moment}
    return {"id": run, "status": "failed", "error": text, **times, **fields}


def numbered(prefix: str, values: Iterable[str]) -> Mapping[str, str]:
    return {f"{prefix}-{number}": text for number, text in enumerate(values)}


async def test_every_text_is_sent_once_live_and_after_a_gap(tmp_path: Path) -> None:
    async with open_nasty_case(tmp_path) as case:
        async with case.agent():
            await send_live(case)
            await send_after_gap(case)
        case.check(SECRETS)


async def send_live(case: NastyCase) -> None:
    tasks = numbered("live", SMALL.values())
    ends = [failed_task(name, text, task=text, output=text, weird=text) for name, text in tasks.items()]
    ends += [
        {"type": "task_completed", "taskId": name, "task": text, "output": {text[:40]: [text]}}
        for name, text in numbered("done", SMALL.values()).items()
    ]
    ends += [
        {
            "type": "workflow_execution_failed",
            "executionId": name,
            "workflowId": (text or "x")[:512],
            "error": text,
        }
        for name, text in numbered("execution", SMALL.values()).items()
    ]
    ends += [
        {"type": "sandbox_error", "sandboxId": name, "error": text, "image": text}
        for name, text in numbered("sandbox", SMALL.values()).items()
    ]
    await case.live(ends, [event for name, text in tasks.items() for event in everywhere(name, text)])


async def send_after_gap(case: NastyCase) -> None:
    await case.catch_up(
        tasks=[
            row(name, text, task=text, output=text, weird={text: text})
            for name, text in numbered("missed", SMALL.values()).items()
        ],
        executions=[
            row(name, text, workflowName=text, workflowId=text, output=[text], endTime=now())
            for name, text in numbered("missed-execution", SMALL.values()).items()
        ],
        sandboxes=[
            row(name, text, projectId="project-123", name=text, stoppedAt=now())
            for name, text in numbered("missed-sandbox", SMALL.values()).items()
        ],
    )


async def test_every_id_is_sent_once_live_and_after_a_gap(tmp_path: Path) -> None:
    async with open_nasty_case(tmp_path) as case:
        async with case.agent():
            for kind, named in (
                ("task_failed", "taskId"),
                ("workflow_execution_failed", "executionId"),
                ("sandbox_error", "sandboxId"),
            ):
                await case.live(
                    [{"type": kind, named: name, "workflowId": name, "error": "x"} for name in texts.IDS.values()],
                    [{"type": kind, named: name, "workflowId": "w"} for name in texts.IMPOSSIBLE_IDS.values()],
                )
            await case.catch_up(
                tasks=[row(f"{name}!"[-512:], "x") for name in texts.IDS.values()],
                executions=[
                    row(f"{name}!"[-512:], "x", workflowId=name, endTime=now()) for name in texts.IDS.values()
                ],
                sandboxes=[
                    row(f"{name}!"[-512:], "x", projectId=PROJECT, stoppedAt=now()) for name in texts.IDS.values()
                ],
            )
        case.check()


async def test_every_value_of_an_unknown_field_is_sent_once_live_and_after_a_gap(tmp_path: Path) -> None:
    values = dict(enumerate(texts.FIELDS.values()))
    async with open_nasty_case(tmp_path) as case:
        async with case.agent():
            await case.live(
                [failed_task(f"f{number}", "x", weird=value, output=value) for number, value in values.items()],
                [
                    {"type": "task_queued", "taskId": f"f{number}", "input": value, "task": value}
                    for number, value in values.items()
                ],
            )
            await case.catch_up(
                tasks=[row(f"m{number}", "x", weird=value, output=value) for number, value in values.items()]
            )
            assert case.socket is not None
            for value in texts.UNFIT_FIELDS.values():
                text = event_text("task_failed", PROJECT, taskId="unfit", weird="HERE").replace('"HERE"', value)
                await case.socket.send_bytes_raw(frame(text))
            await case.live([failed_task("after", "still here")])
        case.check(texts.FIELD_SECRETS)


async def test_every_large_text_is_sent_once_live_and_after_a_gap(tmp_path: Path, counts: Counts) -> None:
    large = numbered("large", texts.LARGE.values())
    async with open_nasty_case(tmp_path) as case:
        async with case.agent():
            await case.live(
                [failed_task(name, text) for name, text in large.items()],
                [{"type": "output", "taskId": name, "output": text} for name, text in large.items()],
            )
            costly = enumerate(large.items())
            missed = ((f"missed-{name}", text) for at, (name, text) in costly if at % 4 < counts.quarters)
            # One page of a list has at most 16 MiB.
            while page := list(islice(missed, 4)):
                await case.catch_up(tasks=[row(name, text) for name, text in page])
        case.check()
