"""Whether a stream leads to systemd's journal, and the priorities that it reads at the beginning of a line."""

import os
import sys
from collections.abc import Mapping
from typing import Final, TextIO

PRIORITIES: Final[Mapping[str, int]] = {
    "critical": 2,
    "error": 3,
    "warning": 4,
    "info": 6,
    "debug": 7,
}
"""The journal's number for each level of the log, as in sd-daemon(3)."""


def is_journal(stream: TextIO | None) -> bool:
    """Whether ``stream`` is the connection to the journal that systemd names in ``JOURNAL_STREAM``.

    The variable alone is no proof: children inherit it, and a shell may have redirected the stream since.
    """
    if sys.platform == "win32" or stream is None:
        return False
    try:
        state = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):  # a stream without a descriptor, or a closed one
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{state.st_dev}:{state.st_ino}"


def with_priority(level: str, text: str) -> str:
    """``text`` with the priority of ``level`` before each of its lines; the journal makes an entry of each."""
    prefix = f"<{PRIORITIES[level]}>"
    lines = text.removesuffix("\n")
    return prefix + lines.replace("\n", f"\n{prefix}") + text[len(lines) :]
