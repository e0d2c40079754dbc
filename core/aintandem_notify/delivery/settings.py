"""The part of the config that a destination's worker needs."""

from dataclasses import dataclass
from typing import Final

from aintandem_notify.config.types.values import Rate

FALLBACK_AFTER_S: Final = 900.0
"""Default of ``fallback_after`` in the config, in seconds."""


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """Settings of one destination.

    ``max_age``: seconds after which a queued delivery is given up. ``rate``: None is unlimited. ``in_flight``: the
    number of deliveries that are claimed at once; ``api.Plugin`` explains it.

    ``fallback``: destination that takes over deliveries that die here or wait longer than ``fallback_after``
    seconds; None: no fallback. ``digest_over``: if more deliveries than this wait after an outage, the least
    important ones are folded into a summary; None: never.
    """

    name: str
    max_age: float
    rate: Rate | None = None
    in_flight: int = 1
    fallback: str | None = None
    fallback_after: float = FALLBACK_AFTER_S
    digest_over: int | None = None
