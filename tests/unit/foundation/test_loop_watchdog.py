"""Code that blocks the event loop is named with its line while it blocks; nobody else gets the blame."""

import ctypes
import io
import json
import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from aintandem_notify import log
from aintandem_notify.agent.blocked_loop import log_block
from aintandem_notify.foundation.loop_watchdog import Block, Culprit, LoopStack, open_loop_watchdog
from aintandem_notify.foundation.loop_watchdog.looks import NO_TIME, culprit_of
from aintandem_notify.foundation.loop_watchdog.loop_stack import thread_stacks
from aintandem_notify.foundation.loop_watchdog.thread_times import Lateness, ThreadTimes, busiest, lateness
from aintandem_notify.plugins.border import SourceFiles
from aintandem_notify.plugins.border.blocking_code import culprit_in
from aintandem_notify.plugins.border.missing_await import RUNNING_INSTANCE

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = Path(__file__)
OURS = Path(sys.modules[open_loop_watchdog.__module__].__file__ or "").parents[2] / "ingest" / "writer.py"
WAIT_S = 60.0
"""Longer than any machine needs to notice; no test waits for it."""
BEEP, CHIME, OTHER = (Culprit(name, "plugins/x.py:7") for name in ("beep.a", "chime.a", None))


class Reports:
    """The reported blocks; ``began`` and ``ended`` are set by the first ones."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.began, self.ended = threading.Event(), threading.Event()

    def __call__(self, block: Block) -> None:
        self.blocks.append(block)
        (self.ended if block.ended else self.began).set()


def blame_beep(stack: LoopStack) -> Culprit | None:
    """All code of this file is a plugin's."""
    return culprit_in(stack, {"beep.desk": SourceFiles(HERE)}, None)


async def test_blocking_code_is_named_while_it_blocks_and_again_at_its_end() -> None:
    reports = Reports()
    async with open_loop_watchdog(reports, look_every_s=0.1) as watchdog:
        assert watchdog.last_block() is None
        assert reports.began.wait(WAIT_S)
        running = watchdog.last_block()
        assert running is not None
        assert not running.ended
        await trio.to_thread.run_sync(reports.ended.wait, WAIT_S)
        block = watchdog.last_block()
    assert block is not None
    assert block.ended
    assert block.instance is None
    assert block.began_at == running.began_at
    assert 0 < running.lasted_s <= block.lasted_s
    assert [(each.where, each.ended) for each in reports.blocks] == [(block.where, False), (block.where, True)]


async def test_a_plugin_is_blamed_by_the_agent_that_knows_its_files() -> None:
    reports = Reports()
    async with open_loop_watchdog(reports, blame_beep, look_every_s=0.1):
        line = sys._getframe().f_lineno + 1
        assert reports.began.wait(WAIT_S)
    block = reports.blocks[0]
    assert (block.instance, block.where) == ("beep.desk", f"foundation/test_loop_watchdog.py:{line}")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts how often a thread waits")
async def test_code_in_c_that_keeps_the_interpreter_is_named_when_it_lets_go() -> None:
    reports = Reports()
    named: list[Block] = []
    async with open_loop_watchdog(reports, blame_beep, look_every_s=0.3):
        # On a busy machine the thread may come too late, or blame the machine; then the code does it once more.
        while not named:
            reports.began.clear()
            line = sys._getframe().f_lineno + 1
            ctypes.PyDLL(None).usleep(1_200_000)
            await trio.to_thread.run_sync(reports.began.wait, 1.0)
            where = f"foundation/test_loop_watchdog.py:{line}"
            named = [block for block in reports.blocks if (block.instance, block.where) == ("beep.desk", where)]
    assert named[0].lasted_s >= 1.0


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (Block("beep.a", "plugins/beep.py:7", NOON, 1.04, ended=False), "plugin blocks the whole agent; write"),
        (Block("beep.a", "plugins/beep.py:7", NOON, 30.0, ended=True), "the whole agent was blocked"),
        (Block(None, "ingest/writer.py:7", NOON, 1.0, ended=False), "the agent blocks itself"),
        (Block(None, NO_TIME, NOON, 1.0, ended=False), "the event loop does not run"),
        (Block(None, NO_TIME, NOON, 9.0, ended=True), "the event loop runs again"),
    ],
)
def test_a_block_is_logged(block: Block, words: str) -> None:
    stream = io.StringIO()
    log.configure("info", "json", stream)
    log_block(block)
    entry = json.loads(stream.getvalue())
    assert words in entry["event"]
    assert entry["level"] == ("info" if block.where == NO_TIME else "warning")
    assert entry.get("plugin") == block.instance
    assert (entry["where"], entry["elapsed_s"]) == (block.where, round(block.lasted_s, 1))


@pytest.mark.skipif(sys.platform != "linux", reason="SIGSTOP, and the counts of Linux")
async def test_a_stopped_process_is_nobodys_fault() -> None:
    async with open_loop_watchdog(Reports(), look_every_s=0.1) as watchdog:
        pid = os.getpid()
        await trio.run_process(["sh", "-c", f"kill -STOP {pid}; sleep 1.2; kill -CONT {pid}"])
        block = watchdog.last_block()
    # The machine may be busy besides.
    assert block is None or block.where == NO_TIME


async def test_the_thread_ends_with_the_block() -> None:
    async with open_loop_watchdog(Reports(), look_every_s=WAIT_S):
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "loop watchdog"]
    await trio.to_thread.run_sync(thread.join, WAIT_S)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("looks", "starved", "culprit"),
    [
        ([], False, None),
        ([BEEP], False, None),
        ([BEEP, BEEP], False, BEEP),
        ([OTHER, BEEP, BEEP], False, BEEP),
        ([BEEP, CHIME], False, None),
        ([BEEP, OTHER], False, None),
        ([OTHER, OTHER], False, OTHER),
        ([BEEP, CHIME, BEEP, CHIME], False, Culprit(None, CHIME.where)),
        ([BEEP], True, None),
        ([BEEP, BEEP], True, Culprit(None, NO_TIME)),
    ],
)
def test_two_looks_that_agree_make_a_culprit(looks: list[Culprit], starved: bool, culprit: Culprit | None) -> None:
    assert culprit_of(looks, starved=starved) == culprit


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (ThreadTimes(10.5), Lateness.ON_TIME),
        (ThreadTimes(10.9), Lateness.ON_TIME),
        (ThreadTimes(13.5), Lateness.STOPPED),
        (ThreadTimes(13.5, waits=600), Lateness.INTERPRETER_HELD),
        (ThreadTimes(13.5, waits=10), Lateness.STOPPED),
        (ThreadTimes(13.5, waits=600, queued_s=2.9), Lateness.STARVED),
        (ThreadTimes(13.5, queued_s=2.9), Lateness.STARVED),
    ],
)
def test_a_late_wait_has_one_reason(after: ThreadTimes, reason: Lateness) -> None:
    assert lateness(ThreadTimes(10.0), after, 0.5) is reason


@pytest.mark.parametrize(
    ("after", "ident"),
    [({}, None), ({1: 5.2, 2: 0.1}, None), ({1: 5.2, 2: 3.0}, 2), ({1: 9.0, 2: 3.0}, 1), ({1: 5.0, 3: 1.0}, 3)],
)
def test_the_thread_that_held_the_interpreter_ran_most(after: dict[int, float], ident: int | None) -> None:
    assert busiest({1: 5.0, 2: 0.0}, after) == ident


BEEP_FILE, HELPER = "/x/plugins/beep.py", "/x/plugins/beep_parts/helper.py"
FILES = {
    "beep.a": SourceFiles(Path(BEEP_FILE)),
    "beep.b": SourceFiles(Path(BEEP_FILE)),
    "chime.a": SourceFiles(Path("/x/plugins/chime.py"), Path("/x/plugins/chime")),
}


@pytest.mark.parametrize(
    ("lines", "running", "culprit"),
    [
        ([], None, None),
        ([("/lib/time.py", 3)], None, None),
        ([(str(OURS), 3)], None, None),
        ([(BEEP_FILE, 7)], None, Culprit("beep.a or beep.b", "plugins/beep.py:7")),
        ([(BEEP_FILE, 7)], "beep.b", Culprit("beep.b", "plugins/beep.py:7")),
        ([("/lib/x.py", 3), (BEEP_FILE, 7), (BEEP_FILE, 90)], "beep.b", Culprit("beep.b", "plugins/beep.py:7")),
        ([("/x/plugins/chime/parts.py", 7)], None, Culprit("chime.a", "chime/parts.py:7")),
        ([("/lib/x.py", 3)], "beep.a", Culprit("beep.a", "lib/x.py:3")),
        ([(str(OURS), 3)], "beep.a", None),
        ([("/lib/x.py", 3), (str(OURS), 3)], "beep.a", None),
        ([(BEEP_FILE, 7)], "gone.a", Culprit("gone.a", "plugins/beep.py:7")),
        ([], "beep.a", None),
    ],
)
def test_a_stack_has_the_instance_of_its_task(
    lines: list[tuple[str, int]], running: str | None, culprit: Culprit | None
) -> None:
    assert culprit_in(LoopStack(tuple(lines)), FILES, running) == culprit


async def test_a_stack_begins_at_the_task_and_has_its_context() -> None:
    stacks: list[LoopStack] = []
    async with trio.open_nursery() as nursery:
        RUNNING_INSTANCE.set("beep.a")
        nursery.start_soon(_record_own_stack, stacks)
    (stack,) = stacks
    assert stack.context is not None
    assert stack.context.get(RUNNING_INSTANCE) == "beep.a"
    assert [Path(file) for file, _ in stack.lines[-1:]] == [HERE]
    assert stack.own_line().startswith("loop_watchdog/loop_stack.py:")


async def test_a_loop_that_waits_has_no_lines() -> None:
    stacks: list[LoopStack] = []
    ident = threading.get_ident()

    def look() -> None:
        # Until the loop waits: it may still be on its way there.
        while (stack := thread_stacks()[ident]).lines:
            pass
        stacks.append(stack)

    await trio.to_thread.run_sync(look)
    assert stacks == [LoopStack((), stacks[0].context)]


async def _record_own_stack(stacks: list[LoopStack]) -> None:
    stacks.append(thread_stacks()[threading.get_ident()])
