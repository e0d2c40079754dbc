"""Descriptors 0 to 2, which a process may be started without."""

import os


def occupy_standard_descriptors() -> None:
    """Put the null device where standard input, output or error is closed.

    Else the next socket or file would get that number, and whatever writes to "standard error" by its number (the
    interpreter, a library in C, a child) would write into it. ``sys.stdout`` and the like stay None.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            try:
                # The system gives the lowest number that is free, and those below are in use.
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            except OSError:
                return  # a machine without it
