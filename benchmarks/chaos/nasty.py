"""What is drawn from the inputs that broke an agent once: texts, times, answers. The seed decides, as everywhere.

The lists are those of the tests, in ``tests/support/nasty`` of a clone.
"""

import sys
from pathlib import Path
from random import Random
from typing import Any, Final

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from support.nasty import receivers_http, texts, times  # found by the line above
from support.nasty.wire import WireAnswer
from support.wire_player import play

__all__ = ["LARGE_SHARE", "NASTY_SHARE", "RandomInputs", "WireAnswer", "play"]

NASTY_SHARE: Final = 0.3
"""Of the errors and outputs of tasks that end badly."""
LARGE_SHARE: Final = 0.01
"""Of those again: a text of 100,000 characters and more costs as much as hundreds of others."""


def _sendable(text: str) -> bool:
    """Whether the simulator can send it: it writes UTF-8, in which half a character has no place."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


SMALL: Final = tuple(
    filter(_sendable, (*texts.SMALL.values(), *(secret.text for secret in texts.SECRETS.values())))
)
LARGE: Final = tuple(filter(_sendable, texts.LARGE.values()))
TIMES: Final = tuple(
    moment for name, moment in times.TIMES.items() if not isinstance(moment, str) or _sendable(moment)
)
ACCEPTED: Final = tuple(receivers_http.ACCEPTED.values())
"""Answers after which a message is delivered: what is read of them is their status."""

_RETRIED: Final = (
    *receivers_http.CAREFREE,
    "closed at once",
    "reset at once",
    "half a status line",
    "half a head",
    "no http",
    "tls",
    "http/0.9",
    "smtp",
    "status of a shoutcast",
)
REFUSED: Final = tuple(receivers_http.ANSWERS[name] for name in _RETRIED)
"""Answers after which a message waits. What parks or disables a destination, or is about one message alone, would
leave nothing to settle the account with."""


class RandomInputs:
    """One source of chance for one user of it, so that none disturbs another's."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._chance = Random(f"{seed}/nasty/{purpose}")

    def text(self, usual: str) -> str:
        """An error text: most are the usual one."""
        if self._chance.random() >= NASTY_SHARE:
            return usual
        return self._chance.choice(LARGE if self._chance.random() < LARGE_SHARE else SMALL)

    def time(self, usual: str) -> Any:
        """A value for ``timestamp``: half of them are the usual one."""
        return usual if self._chance.random() < 0.5 else self._chance.choice(TIMES)

    def accepted(self) -> WireAnswer:
        """Any form of yes."""
        return self._chance.choice(ACCEPTED)

    def refused(self) -> WireAnswer:
        """Any form of not now."""
        return self._chance.choice(REFUSED)
