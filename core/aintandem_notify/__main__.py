"""Where the process begins: ``aintandem-notify``, which is ``python -m aintandem_notify``.

Imports next to nothing before it knows what to do with a signal. While modules are imported, Python would show
where a Ctrl-C met it, or lose it in a callback of its own; and a process that is number 1, as in a container, is
not ended by a signal that it does not listen for.
"""

import os
import signal
import sys
from types import FrameType

from aintandem_notify.foundation.stdio.descriptors import occupy_standard_descriptors
from aintandem_notify.foundation.stdio.final_message import write_final_message


def main() -> None:
    """Run the command that the arguments of the process name, and end the process.

    A Ctrl-C ends it at once with exit code 130, and SIGTERM as it ends any process (143 as number 1), except while
    something has to be put in order first: that asks for it (``signals``).
    """
    _listen()
    occupy_standard_descriptors()
    from aintandem_notify.cli.main import main as run_command

    run_command()


def _listen() -> None:
    # Not where they are ignored, as a shell has SIGINT for a job in the background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)
    # It asks ``run`` to read its config, which is still to be read. Not SIG_IGN: children would inherit that.
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and sys.argv[1:2] == ["run"] and signal.getsignal(hangup) is signal.SIG_DFL:
        signal.signal(hangup, lambda _number, _frame: None)


def _leave(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        write_final_message("\naintandem-notify: interrupted\n")
    else:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    # The kernel does not let number 1 be ended by that signal.
    os._exit(128 + number)


if __name__ == "__main__":
    main()
