"""Mistakes in the code of a plugin are named with file and line, whichever hook they are in."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

import pytest
import trio
import trio.testing
from outcome import Error

from aintandem_notify import log
from aintandem_notify.plugins import InstanceState
from aintandem_notify.plugins.border import describe_plugin_error
from support.hosting import Bench, Files, hosting, notification, task_failed, until

HEAD = """\
import contextlib, trio
from typing import Any
from aintandem_notify.api import *

async def forgotten():
    await trio.sleep(0)

class Odd(Plugin):
    async def helper(self): return 7

"""
LIFESPAN = "    @hookimpl\n    @contextlib.asynccontextmanager\n    async def lifespan(self):\n"
FAULT = "# the fault"


def plugin(hook: str, body: str) -> str:
    """The source of a plugin with the body in this hook."""
    if hook == "set-up":
        method = f"{LIFESPAN}        {body}\n        yield\n"
    elif hook == "tear-down":
        method = f"{LIFESPAN}        yield\n        {body}\n"
    elif hook == "background task":
        method = f"{LIFESPAN}        self.context.nursery.start_soon(self.work)\n        yield\n"
        method += f"\n    async def work(self):\n        {body}\n"
    else:
        word, _, name = hook.rpartition(" ")
        argument = {"deliver": ", notification"}.get(name, ", event" if name.startswith("on_") else "")
        method = f"    @hookimpl\n    {word} {name}(self{argument}):\n        {body}\n"
    other = "" if hook.endswith("deliver") else "\n    @hookimpl\n    def deliver(self, notification): pass\n"
    return f"{HEAD}{method}{other}"


HOOKS = [
    f"{word} {name}"
    for word in ("def", "async def")
    for name in ("deliver", "check", "diagnostics", "on_event", "on_task_event")
]
LIVES = ["set-up", "tear-down", "background task"]

RAISING = {
    "by itself": f"{{}}['x']  {FAULT}",
    "in a library": f"__import__('json').loads('{{')  {FAULT}",
    "a deadline of its own": f"raise trio.TooSlowError  {FAULT}",
    "a refused connection": f"raise ConnectionRefusedError('no')  {FAULT}",
    "sys.exit": f"raise SystemExit(3)  {FAULT}",
    "a BaseException": f"raise BaseException('x')  {FAULT}",
    "a text that raises": f"raise type('E', (Exception,), {{'__str__': lambda self: 1 / 0}})  {FAULT}",
    "a text with half a character": f"raise RuntimeError('half \\ud83d')  {FAULT}",
    "a text of 10 MB": f"raise RuntimeError('x' * 10_000_000)  {FAULT}",
    "a group": f"raise ExceptionGroup('some', [ValueError('a')])  {FAULT}",
    "a wrong after": f"raise RetryLater('busy', after='7')  {FAULT}",
}

FORGETTING = {
    "an own method": f"self.helper()  {FAULT}",
    "a function": f"forgotten()  {FAULT}",
    "a variable": f"answer = self.helper()  {FAULT}",
    "trio": f"trio.sleep(1)  {FAULT}",
    "many": f"[self.helper() for _ in range(9)]  {FAULT}",
}


def fault_line(source: str) -> str:
    """The place of the fault."""
    line = next(number for number, text in enumerate(source.splitlines(), 1) if FAULT in text)
    return f"plugins/odd.py:{line}: "


@asynccontextmanager
async def odd_host(folder: Path, source: str) -> AsyncIterator[Bench]:
    """A host with this plugin."""
    async with hosting(files=Files(folder, odd=source)) as bench:
        yield bench


async def reason_of(bench: Bench, hook: str, stream: StringIO) -> str:
    """Call the hook in the agent's way, and return the text that people read about its failure."""
    if hook == "set-up":
        await bench.start("odd")
        return (await bench.until("odd.x", InstanceState.RETRYING)).reason or ""
    if hook == "background task":
        await bench.start("odd")
        return (await until(lambda: bench.failures, bool))[0][1]
    await bench.load("odd")
    if hook == "tear-down":
        await bench.host.stop("odd.x")
        return stream.getvalue()
    name = hook.split()[-1]
    if name == "deliver":
        (result,) = await bench.host.deliver("odd.x", [notification()])
        assert isinstance(result, Error)
        return describe_plugin_error(result.error)
    if name.startswith("on_"):
        bench.host.publish(task_failed(), None)
        await until(lambda: bench.status("odd.x").hook_errors, bool)
        return stream.getvalue()
    try:
        await (bench.host.check("odd.x") if name == "check" else bench.host.diagnostics("odd.x"))
    except Exception as error:  # noqa: BLE001  # its text is the result
        return describe_plugin_error(error)
    raise AssertionError(f"{hook} raised nothing")


@pytest.mark.parametrize("hook", HOOKS + LIVES)
@pytest.mark.parametrize("fault", RAISING)
async def test_an_exception_has_its_line_and_at_debug_its_traceback(tmp_path: Path, hook: str, fault: str) -> None:
    source, stream = plugin(hook, RAISING[fault]), StringIO()
    log.configure("debug", "json", stream)
    async with odd_host(tmp_path, source) as bench:
        reason = await reason_of(bench, hook, stream)
    assert fault_line(source) in reason
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    traces = [entry for entry in entries if entry["event"] == "a plugin raised an exception"]
    assert {entry["plugin"] for entry in traces} == {"odd.x"}
    assert all(len(entry["exception"]) < 20_000 for entry in traces)
    assert "odd.py" in traces[0]["exception"] or "Traceback" not in traces[0]["exception"]


# A variable of a lifespan's set-up lives until its tear-down.
@pytest.mark.parametrize(
    ("hook", "fault"),
    [
        (hook, fault)
        for hook in HOOKS + LIVES[:2]
        for fault in FORGETTING
        if (hook, fault) != ("set-up", "a variable")
    ],
)
async def test_a_missing_await_is_the_plugins_fault(tmp_path: Path, hook: str, fault: str) -> None:
    source, stream = plugin(hook, FORGETTING[fault]), StringIO()
    log.configure("warning", "json", stream)
    async with odd_host(tmp_path, source) as bench:
        reason = await reason_of(bench, hook, stream)
    assert f"{fault_line(source)}await is missing: the coroutine of " in reason
    assert ("write " in reason) is hook.startswith("def")


async def test_a_missing_await_that_raises_is_logged_beside_the_exception(tmp_path: Path) -> None:
    source, stream = plugin("async def deliver", f"self.helper().status  {FAULT}"), StringIO()
    log.configure("warning", "json", stream)
    async with odd_host(tmp_path, source) as bench:
        reason = await reason_of(bench, "async def deliver", stream)
    assert reason == f"{fault_line(source)}AttributeError: 'coroutine' object has no attribute 'status'"
    assert "await is missing: the coroutine of Odd.helper() was never awaited" in stream.getvalue()


async def test_a_missing_await_of_a_background_task_is_logged(tmp_path: Path) -> None:
    source, stream = plugin("background task", FORGETTING["an own method"]), StringIO()
    log.configure("warning", "json", stream)
    async with odd_host(tmp_path, source) as bench:
        await bench.load("odd")
        await trio.testing.wait_all_tasks_blocked()
        assert bench.status("odd.x").state is InstanceState.LOADED
    (entry,) = map(json.loads, stream.getvalue().splitlines())
    assert entry["event"] == "await is missing: the coroutine of Odd.helper() was never awaited"
    assert (entry["plugin"], f"{entry['where']}: ") == ("odd.x", fault_line(source))


JUNK = {
    "an object": f"return object()  {FAULT}",
    "True": f"return True  {FAULT}",
    "a text": f"return 'ok'  {FAULT}",
    "a list": f"return [1]  {FAULT}",
    "10 MB": f"return {{'x': 'y' * 10_000_000}}  {FAULT}",
    "a dict with bytes": f"return {{'x': b'z'}}  {FAULT}",
    "a number that is none": f"return {{'x': float('nan')}}  {FAULT}",
    "an exception": f"return SystemExit(3)  {FAULT}",
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("fault", JUNK)
async def test_junk_is_refused_where_a_value_counts_and_ignored_elsewhere(
    tmp_path: Path, hook: str, fault: str
) -> None:
    source, stream = plugin(hook, JUNK[fault]), StringIO()
    log.configure("warning", "json", stream)
    async with odd_host(tmp_path, source) as bench:
        if hook.split()[-1] in {"deliver", "diagnostics"}:
            line = int(fault_line(source).split(":")[1]) - 1
            assert (await reason_of(bench, hook, stream)).startswith(f"plugins/odd.py:{line}: ")
            return
        await bench.load("odd")
        await bench.host.check("odd.x")
        bench.host.publish(task_failed(), None)
        await bench.host.stop("odd.x")
        assert bench.status("odd.x").hook_errors == 0
    assert stream.getvalue() == ""


async def test_a_deadline_names_the_line_that_waited(tmp_path: Path) -> None:
    source = plugin("async def deliver", f"await trio.sleep_forever()  {FAULT}")
    async with odd_host(tmp_path, source) as bench:
        await bench.load("odd", timeout=0.01)
        (result,) = await bench.host.deliver("odd.x", [notification()])
    assert isinstance(result, Error)
    place = fault_line(source).removesuffix(": ")
    assert describe_plugin_error(result.error) == f"deliver took longer than 0.01 s, in {place}"
