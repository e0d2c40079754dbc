"""Occupies descriptors 0 to 2 if the process was started without them."""

import os


def occupy_standard_descriptors() -> None:
    """Opens the null device in place of a closed standard input, output or error.

    Otherwise the next socket or file would get that number. The interpreter, libraries in C and children write to
    descriptor 2, and would write into that file. ``sys.stdout`` and the like stay None.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            try:
                # The system gives the lowest free number, and those below are in use.
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            except OSError:
                return  # a machine without a null device
