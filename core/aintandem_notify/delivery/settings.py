"""What a destination's worker has to know of the config."""

from dataclasses import dataclass
from typing import Final

from aintandem_notify.config.types.values import Rate

FALLBACK_AFTER_S: Final = 900.0
"""As ``fallback_after`` in the config, unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """``max_age`` in seconds; ``rate`` None is unlimited; ``in_flight`` as ``Plugin.in_flight``.

    ``fallback`` is the destination that takes over what dies here or waits longer than ``fallback_after``
    seconds, None if none does. ``digest_over``: when more than so many wait after an outage, what matters least is
    folded into a summary; None: never.
    """

    name: str
    max_age: float
    rate: Rate | None = None
    in_flight: int = 1
    fallback: str | None = None
    fallback_after: float = FALLBACK_AFTER_S
    digest_over: int | None = None
