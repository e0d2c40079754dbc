"""The entry point of ``aintandem-notify`` and ``python -m aintandem_notify``.

Sets its signal handlers before it imports other modules. Without them, a Ctrl-C during an import shows a traceback
or is lost in a callback of Python. Process number 1, as in a container, ignores signals without a handler.
"""

import os
import signal
import sys
from types import FrameType

from aintandem_notify.foundation.stdio.descriptors import occupy_standard_descriptors
from aintandem_notify.foundation.stdio.final_message import write_final_message


def main() -> None:
    """Run the command in the process's arguments, and end the process.

    A Ctrl-C ends it at once with exit code 130. SIGTERM ends it as it ends any process, or with 143 as number 1.
    Commands that must stop in order replace these handlers (``foundation.signals``).
    """
    _set_signal_handlers()
    occupy_standard_descriptors()
    from aintandem_notify.cli.main import main as run_command

    run_command()


def _set_signal_handlers() -> None:
    # Signals that are ignored stay so: a shell ignores SIGINT for jobs in the background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit_on_signal)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit_on_signal)
    # A SIGHUP asks ``run`` to reload its config, which is not loaded yet. Not SIG_IGN: children would inherit it.
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and sys.argv[1:2] == ["run"] and signal.getsignal(hangup) is signal.SIG_DFL:
        signal.signal(hangup, lambda _number, _frame: None)


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        write_final_message("\naintandem-notify: interrupted\n")
    else:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    # Process number 1 survives that signal.
    os._exit(128 + number)


if __name__ == "__main__":
    main()
