"""Draws texts, times and responses that once broke an agent, at random from the seed.

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
"""Share of the errors and outputs of failing tasks that are nasty."""
LARGE_SHARE: Final = 0.01
"""Share of the nasty texts that are large: 100,000 characters and more cost as much as hundreds of others."""


def _sendable(text: str) -> bool:
    """Whether the simulator can send the text: UTF-8 cannot hold a lone surrogate."""
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
"""Responses after which a message is delivered: only their status is read."""

_RETRIED: Final = (
    *receivers_http.CAREFREE,
    *receivers_http.PORTALS,
    "404 during a redeploy",
    "407 from a proxy",
    "421 from a proxy",
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
"""Responses after which a message is retried. Others park or disable a destination or reject one message, and the
run could not end with all messages delivered."""


class RandomInputs:
    """A source of nasty inputs for one purpose, independent of the others."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._chance = Random(f"{seed}/nasty/{purpose}")

    def text(self, usual: str) -> str:
        """An error text: mostly the usual one."""
        if self._chance.random() >= NASTY_SHARE:
            return usual
        return self._chance.choice(LARGE if self._chance.random() < LARGE_SHARE else SMALL)

    def time(self, usual: str) -> Any:
        """A value for ``timestamp``: the usual one in half of the cases."""
        return usual if self._chance.random() < 0.5 else self._chance.choice(TIMES)

    def accepted(self) -> WireAnswer:
        """Any response that accepts a message."""
        return self._chance.choice(ACCEPTED)

    def refused(self) -> WireAnswer:
        """Any response after which a message is retried."""
        return self._chance.choice(REFUSED)
