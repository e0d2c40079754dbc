"""Decides who blocks the loop, from looks at its stack. Pure.

One look proves little: on a busy machine the loop's thread may stand in any line and simply get no time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LOOKS: Final = 2
"""Looks, one after the other, that must show the same plugin."""
MAX_LOOKS: Final = 4
"""Looks after which a block is reported even if they differ."""
NO_TIME: Final = "the machine gives the agent no time"
"""The place of a block that no code makes."""
IN_C: Final = "code in C that holds the interpreter"
"""The place of a block whose Python line is unknown."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """The code that blocks: file and line, and the plugin instance, as ``beep.desk``; None if it is no plugin."""

    instance: str | None
    where: str

    def __str__(self) -> str:
        return self.where if self.instance is None else f"{self.instance}: {self.where}"


def culprit_of(looks: Sequence[Culprit], *, starved: bool) -> Culprit | None:
    """The code that blocks, by these looks, the last one last; None if more looks are needed.

    ``starved``: the loop's thread has waited for a processor for most of the time.
    """
    if len(looks) < LOOKS:
        return None
    if starved:
        return Culprit(None, NO_TIME)
    last = looks[-LOOKS:]
    if len({look.instance for look in last}) == 1:
        return last[-1]
    return Culprit(None, last[-1].where) if len(looks) >= MAX_LOOKS else None
