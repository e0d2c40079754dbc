"""Signals: the first SIGINT or SIGTERM ends the process cleanly, the second at once; SIGHUP reloads the config.

A time limit ends the process if the orderly end takes too long. The handlers are the interpreter's own and not
``trio.open_signal_receiver``, and a thread watches the limit: both must work while a plugin blocks the event loop.
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
"""Exit code of a process that the time limit ended."""
DUPLICATE_SIGNAL_S: Final = 0.2
"""Seconds within which signals count as one: ``timeout`` of coreutils signals the process, then its group."""


def is_ctrl_c(error: BaseException) -> bool:
    """True if SIGINT raised ``error``. With another handler in place, only code can raise KeyboardInterrupt."""
    handler = signal.getsignal(signal.SIGINT)
    return issubclass(type(error), KeyboardInterrupt) and handler is signal.default_int_handler


@contextmanager
def preserve_signal_handlers() -> Iterator[None]:
    """Restores all signal handlers at the end of the block: some modules set one while they are imported.

    Changes nothing outside of the main thread, which alone may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: the handler was set by C code and cannot be restored from here.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def stop_signals(limit: Callable[[], float]) -> Iterator[trio.Event]:
    """The event is set by the first SIGINT or SIGTERM.

    A second one, at least ``DUPLICATE_SIGNAL_S`` later, ends the process at once with 128 + its number, as a kill
    would. ``limit`` returns the seconds after the first by which the process ends in any case. Call it in the main
    thread, inside ``trio.run``.
    """
    stop_requested = trio.Event()
    signalled_or_finished = threading.Event()
    finished = threading.Event()
    token = trio.lowlevel.current_trio_token()
    received_at: float | None = None

    def receive(number: int, _frame: FrameType | None) -> None:
        nonlocal received_at
        now = time.monotonic()
        if received_at is None:
            received_at = now
            signalled_or_finished.set()
            token.run_sync_soon(stop_requested.set)
        elif now - received_at >= DUPLICATE_SIGNAL_S:
            os._exit(128 + number)

    def enforce_limit() -> None:
        signalled_or_finished.wait()
        if not finished.wait(seconds := limit()):
            drain_stderr()
            write_final_message(f"aintandem-notify: the exit took longer than {seconds:g} s, so it was forced\n")
            os._exit(EXIT_CODE_OVERDUE)

    threading.Thread(target=enforce_limit, name="exit limit", daemon=True).start()
    before = {number: signal.signal(number, receive) for number in STOP_SIGNALS}
    try:
        yield stop_requested
    finally:
        # The handlers go first: a signal during ``set`` would wait for the lock that ``set`` holds.
        for number, handler in before.items():
            signal.signal(number, handler)
        finished.set()
        signalled_or_finished.set()


RESEND_S: Final = 0.05
"""Seconds between two tries to interrupt a read that a SIGINT has not ended."""


@contextmanager
def interruptible_reads() -> Iterator[None]:
    """Within the block the first SIGINT raises KeyboardInterrupt, also one that comes just before a read waits.

    Python runs a handler between two bytecodes, or when the signal has interrupted a system call. A signal after
    the last bytecode and before the call interrupts nothing, and Python keeps it until the call returns. A read
    from a person may never return. So the signal also wakes a thread, which sends it again until the handler runs.
    Call it in the main thread, outside of ``trio.run``.
    """
    if not hasattr(signal, "pthread_kill"):  # Windows, where SIGINT ends a read from the console
        yield
        return
    main, done = threading.get_ident(), threading.Event()
    is_handled = False

    def receive(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_handled
        if not is_handled:  # a late repetition must not interrupt the cleanup
            is_handled = True
            done.set()
            raise KeyboardInterrupt

    def resend() -> None:
        while (number := inbox.recv(1)) and number[0] != signal.SIGINT:
            pass
        while number and not done.wait(RESEND_S):
            signal.pthread_kill(main, signal.SIGINT)

    inbox, outbox = socket.socketpair()
    with inbox, outbox:
        outbox.setblocking(False)
        resender = threading.Thread(target=resend, name="interrupts", daemon=True)
        resender.start()
        before = signal.signal(signal.SIGINT, receive)
        try:
            wakeup_before = signal.set_wakeup_fd(outbox.fileno(), warn_on_full_buffer=False)
            try:
                yield
            finally:
                signal.set_wakeup_fd(wakeup_before)
                done.set()
                outbox.shutdown(socket.SHUT_WR)
                resender.join()
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def raise_keyboard_interrupt() -> Iterator[None]:
    """Within the block SIGINT raises KeyboardInterrupt, so that open resources are closed.

    Without it SIGINT ends the command at once (``__main__``). Changes nothing if SIGINT is ignored, nor outside of
    the main thread, which alone receives signals.
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
    """Receives SIGHUP; several of them before a call of ``wait`` count as one. Made by ``receive_sighups``."""

    def __init__(self) -> None:
        self._is_pending = False
        self._received = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None

    async def wait(self) -> None:
        """Return once a SIGHUP has come since the last return; one that came before ``trio.run`` counts."""
        self._token = trio.lowlevel.current_trio_token()
        while not self._is_pending:
            self._received = trio.Event()
            await self._received.wait()
        self._is_pending = False

    def receive(self, _number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self._is_pending = True
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                # The lambda reads the event when it runs: the signal may have come just before the wait.
                self._token.run_sync_soon(lambda: self._received.set())


@contextmanager
def receive_sighups() -> Iterator[SighupReceiver]:
    """Within the block no SIGHUP ends the process, also while the agent starts and ends. Main thread only."""
    received = SighupReceiver()
    if not hasattr(signal, "SIGHUP"):  # Windows
        yield received
        return
    before = signal.signal(signal.SIGHUP, received.receive)
    try:
        yield received
    finally:
        signal.signal(signal.SIGHUP, before)
