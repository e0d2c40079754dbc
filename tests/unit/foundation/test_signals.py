"""Signals, in processes of their own: the tested code ends the process."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from aintandem_notify.foundation.signals import raise_keyboard_interrupt

MOST_S = 180.0
"""For a process that is not starved of all time; nothing waits so long where it works."""

_PROGRAM = """
import sys, time, trio
from aintandem_notify.foundation.signals import stop_signals

async def main():
    with stop_signals(lambda: {limit}) as stop:
        print("ready", flush=True)
        {wait}
        {after}

trio.run(main)
"""


@asynccontextmanager
async def _process(wait: str, after: str, limit: float = MOST_S) -> AsyncIterator[trio.Process]:
    """A process that is ready; killed at the end if it still runs."""
    program = _PROGRAM.format(limit=limit, wait=wait, after=after)
    with trio.fail_after(MOST_S):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        async with process.stdout, process.stderr:
            try:
                assert (await process.stdout.receive_some()).startswith(b"ready")
                yield process
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()


async def _ended(process: trio.Process) -> tuple[int, str]:
    """Its exit code, and its output to stderr."""
    assert process.stderr is not None
    output = b"".join([chunk async for chunk in process.stderr])
    return await process.wait(), output.decode()


async def _signal_until_it_ends(process: trio.Process, number: signal.Signals) -> int:
    """Its exit code. Two signals at once count as one, so the signal is repeated until the process ends."""
    while process.returncode is None:
        process.send_signal(number)
        with trio.move_on_after(0.1):
            await process.wait()
    return process.returncode


async def test_the_first_signal_only_asks() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        async with _process("await stop.wait()", "sys.exit(0)") as process:
            process.send_signal(number)
            assert await _ended(process) == (0, "")


_AS_TIMEOUT_SENDS_IT = """
import os, signal, sys, trio
from aintandem_notify.foundation import signals

signals.DUPLICATE_SIGNAL_S = 3600.0

async def main():
    with signals.stop_signals(lambda: 3600.0) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(7)

trio.run(main)
"""


async def test_two_signals_within_a_moment_are_one() -> None:
    done = await trio.run_process([sys.executable, "-c", _AS_TIMEOUT_SENDS_IT], check=False)
    assert done.returncode == 7


async def test_a_second_signal_ends_it_at_once() -> None:
    async with _process("await stop.wait()", "await trio.sleep_forever()") as process:
        assert await _signal_until_it_ends(process, signal.SIGTERM) == 128 + signal.SIGTERM


async def test_a_second_signal_ends_a_blocked_event_loop() -> None:
    async with _process("time.sleep(3600)", "pass") as process:
        assert await _signal_until_it_ends(process, signal.SIGINT) == 128 + signal.SIGINT


async def test_a_blocked_event_loop_is_left_at_the_limit() -> None:
    async with _process("time.sleep(3600)", "pass", limit=0.05) as process:
        process.send_signal(signal.SIGTERM)
        code, output = await _ended(process)
    assert code == 1
    assert "the exit took longer than 0.05 s, so it was forced" in output


_HANGUPS = """
import os, signal, trio
from aintandem_notify.foundation.signals import receive_sighups

def hang_up():
    os.kill(os.getpid(), signal.SIGHUP)

async def main(sighups):
    await sighups.wait()
    hang_up()
    hang_up()
    await sighups.wait()
    with trio.move_on_after(0):
        await sighups.wait()
        print("one too many")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sighups.wait)
        await trio.testing.wait_all_tasks_blocked()
        hang_up()

import trio.testing
with receive_sighups() as sighups:
    hang_up()
    trio.run(main, sighups)
    hang_up()
print("alive")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="SIGHUP is a matter of POSIX")
async def test_a_sighup_is_received_at_any_time_and_never_ends_the_process() -> None:
    with trio.fail_after(MOST_S):
        done = await trio.run_process([sys.executable, "-c", _HANGUPS], capture_stdout=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"alive\n")


_READ = """
import ctypes, operator, os, signal, threading
from functools import partial
from aintandem_notify.foundation.signals import interruptible_reads

def interrupted_before_it_reads():
    # Calls of C without a bytecode between them, at which Python would check for signals.
    to_self = partial(ctypes.CDLL(None).kill, os.getpid(), signal.SIGINT)
    never_written, kept = os.pipe()
    list(map(operator.call, [to_self, partial(os.read, never_written, 1)]))

before = signal.getsignal(signal.SIGINT)
for _ in range(20):
    try:
        with interruptible_reads():
            interrupted_before_it_reads()
    except KeyboardInterrupt:
        print("heard", flush=True)
with interruptible_reads():
    pass
assert signal.getsignal(signal.SIGINT) is before
assert signal.set_wakeup_fd(-1) == -1
assert threading.active_count() == 1
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="elsewhere a read from the console hears it")
async def test_an_interrupt_just_before_a_read_ends_it_as_well() -> None:
    with trio.fail_after(60):
        done = await trio.run_process([sys.executable, "-c", _READ], capture_stdout=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"heard\n" * 20)


def test_a_sigint_is_raised_where_something_is_to_be_closed_unless_it_is_ignored() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        received: list[int] = []
        signal.signal(signal.SIGINT, lambda number, _: received.append(number))
        with pytest.raises(KeyboardInterrupt), raise_keyboard_interrupt():
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert received == [signal.SIGINT]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with raise_keyboard_interrupt():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
