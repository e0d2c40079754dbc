"""Writes the last message of a process that ends at once: past all buffers, and without waiting."""

import os
import select


def write_final_message(text: str) -> None:
    """Writes ``text`` to standard error if that is possible without waiting; a full pipe is skipped."""
    try:
        # On Windows ``select`` works on sockets only.
        if os.name == "nt" or select.select([], [2], [], 0)[1]:
            os.write(2, text.encode())
    except (OSError, ValueError):  # closed, full, or the reader has gone
        pass
