"""Where the process begins: ``aintandem-notify``, which is ``python -m aintandem_notify``.

Imports next to nothing before it knows what to do with a Ctrl-C. While modules are imported, Python would show
where it was, or lose the interrupt in a callback of its own.
"""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command that the arguments of the process name, and end the process.

    A Ctrl-C ends it at once with exit code 130, except while something has to be put in order first: that asks for
    it (``signals``).
    """
    # Not where it is ignored, as a shell has it for a job in the background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from aintandem_notify.cli.main import main as run_command

    run_command()


def _leave(number: int, _frame: FrameType | None) -> None:
    try:  # noqa: SIM105  # contextlib would take longer to import than all of this
        os.write(2, b"\naintandem-notify: interrupted\n")
    except OSError:
        pass
    os._exit(128 + number)


if __name__ == "__main__":
    main()
