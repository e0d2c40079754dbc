"""Being told to stop, in processes of their own: what is tested ends the process."""

import signal
import subprocess
import sys

import trio

_PROGRAM = """
import sys, time, trio
from aintandem_notify.signals import stop_signals

async def main():
    with stop_signals(lambda: {limit}) as stop:
        print("ready", flush=True)
        {wait}
        {after}

trio.run(main)
"""


async def _run(wait: str, after: str, *signals: signal.Signals, limit: float = 60.0) -> tuple[int, str]:
    """The exit code and stderr of a process that gets the signals, each after it has printed a line."""
    program = _PROGRAM.format(limit=limit, wait=wait, after=after)
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        for number in signals:
            await process.stdout.receive_some()
            process.send_signal(number)
        said = b"".join([chunk async for chunk in process.stderr])
        return await process.wait(), said.decode()


async def test_the_first_signal_only_asks() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        assert await _run("await stop.wait()", "sys.exit(0)", number) == (0, "")


async def test_a_second_signal_ends_it_at_once() -> None:
    after = 'print("stopping", flush=True); await trio.sleep_forever()'
    code, _ = await _run("await stop.wait()", after, signal.SIGTERM, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM


async def test_a_blocked_event_loop_is_left_at_the_limit() -> None:
    code, said = await _run("time.sleep(3600)", "pass", signal.SIGTERM, limit=0.05)
    assert code == 1
    assert "held the exit back for 0.05 s" in said


async def test_a_second_signal_ends_a_blocked_event_loop() -> None:
    wait = 'print("still here", flush=True); time.sleep(3600)'
    code, _ = await _run(wait, "pass", signal.SIGINT, signal.SIGINT)
    assert code == 128 + signal.SIGINT
