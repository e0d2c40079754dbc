"""How the process is told to end (once in good order, twice at once, never held back for ever) and to reload.

The handlers are the interpreter's own and not ``trio.open_signal_receiver``, and the limit is watched from a
thread, because both must work while a plugin blocks the event loop.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import trio

from aintandem_notify.foundation.stdio.final_message import write_final_message
from aintandem_notify.foundation.stdio.stderr_thread import drain_stderr

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
EXIT_CODE_OVERDUE: Final = 1
"""Exit code when the limit passed and something still held the exit back."""
DUPLICATE_SIGNAL_S: Final = 0.2
"""Seconds within which signals are one: ``timeout`` of coreutils, for one, sends its signal to the process and
then to its group."""


def is_ctrl_c(error: BaseException) -> bool:
    """Whether a person raised it. Where signals are handled otherwise, only code can raise a KeyboardInterrupt."""
    handler = signal.getsignal(signal.SIGINT)
    return issubclass(type(error), KeyboardInterrupt) and handler is signal.default_int_handler


@contextmanager
def preserve_signal_handlers() -> Iterator[None]:
    """At the end of the block every signal is handled as before it: some modules take one while they are imported.

    Changes nothing in a thread, which may set no handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: set by C code, which this cannot put back.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def stop_signals(limit: Callable[[], float]) -> Iterator[trio.Event]:
    """The event is set by the first SIGINT or SIGTERM.

    A second one, ``DUPLICATE_SIGNAL_S`` later or more, ends the process at once, with 128 + its number, as a kill
    would. ``limit`` tells the seconds after the first by which the process ends in any case. Call it in the main
    thread, inside ``trio.run``.
    """
    asked = trio.Event()
    armed = threading.Event()
    left = threading.Event()
    token = trio.lowlevel.current_trio_token()
    received_at: float | None = None

    def receive(number: int, _frame: FrameType | None) -> None:
        nonlocal received_at
        now = time.monotonic()
        if received_at is None:
            received_at = now
            armed.set()
            token.run_sync_soon(asked.set)
        elif now - received_at >= DUPLICATE_SIGNAL_S:
            os._exit(128 + number)

    def watch() -> None:
        armed.wait()
        if not left.wait(seconds := limit()):
            drain_stderr()
            write_final_message(f"aintandem-notify: something held the exit back for {seconds:g} s; leaving now\n")
            os._exit(EXIT_CODE_OVERDUE)

    threading.Thread(target=watch, name="exit limit", daemon=True).start()
    before = {number: signal.signal(number, receive) for number in STOP_SIGNALS}
    try:
        yield asked
    finally:
        # First: a signal that comes within ``set`` must not wait for the lock that is taken there.
        for number, handler in before.items():
            signal.signal(number, handler)
        left.set()
        armed.set()


RESEND_S: Final = 0.05
"""Pause between two nudges of a read that a SIGINT has not ended."""


@contextmanager
def interruptible_reads() -> Iterator[None]:
    """Within the block the first SIGINT raises KeyboardInterrupt, also one that comes just before a read waits.

    Python runs its handler between two bytecodes, or when the signal has interrupted a call of the system. One
    that comes after the last bytecode and before the call interrupts nothing, and is kept until the call returns:
    when a person is asked, that may be never. So what the signal itself wakes is a thread, which sends it again
    until it is heard. Call it in the main thread, outside of ``trio.run``.
    """
    if not hasattr(signal, "pthread_kill"):  # Windows, where a read from the console hears it
        yield
        return
    main, quiet = threading.get_ident(), threading.Event()
    heard = False

    def receive(_number: int, _frame: FrameType | None) -> None:
        nonlocal heard
        if not heard:  # a nudge that comes late must not interrupt what cleans up
            heard = True
            quiet.set()
            raise KeyboardInterrupt

    def nudge() -> None:
        while (told := inbox.recv(1)) and told[0] != signal.SIGINT:
            pass
        while told and not quiet.wait(RESEND_S):
            signal.pthread_kill(main, signal.SIGINT)

    inbox, outbox = socket.socketpair()
    with inbox, outbox:
        outbox.setblocking(False)
        nudging = threading.Thread(target=nudge, name="interrupts", daemon=True)
        nudging.start()
        before = signal.signal(signal.SIGINT, receive)
        try:
            told_before = signal.set_wakeup_fd(outbox.fileno(), warn_on_full_buffer=False)
            try:
                yield
            finally:
                signal.set_wakeup_fd(told_before)
                quiet.set()
                outbox.shutdown(socket.SHUT_WR)
                nudging.join()
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def raise_keyboard_interrupt() -> Iterator[None]:
    """Within the block a SIGINT raises KeyboardInterrupt, so that what is open is closed.

    Without it the command ends at once (``__main__``). Changes nothing where SIGINT is ignored, nor in threads,
    which hear no signals.
    """
    in_thread = threading.current_thread() is not threading.main_thread()
    if in_thread or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class SighupReceiver:
    """SIGHUP; several of them before anybody waits are one. Made by ``receive_sighups``."""

    def __init__(self) -> None:
        self._asked = False
        self._news = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None

    async def wait(self) -> None:
        """Returns when one has come since this returned last, be it before trio ran."""
        self._token = trio.lowlevel.current_trio_token()
        while not self._asked:
            self._news = trio.Event()
            await self._news.wait()
        self._asked = False

    def receive(self, _number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self._asked = True
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                # Looks the event up when it runs: this may have come between the question and the wait.
                self._token.run_sync_soon(lambda: self._news.set())


@contextmanager
def receive_sighups() -> Iterator[SighupReceiver]:
    """No SIGHUP ends the process within the block, also while the agent starts and ends. In the main thread."""
    received = SighupReceiver()
    if not hasattr(signal, "SIGHUP"):  # Windows
        yield received
        return
    before = signal.signal(signal.SIGHUP, received.receive)
    try:
        yield received
    finally:
        signal.signal(signal.SIGHUP, before)
