"""The surroundings of a destination's worker: its part of the config, and the plugin instances that it calls."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from aintandem_notify.config.types.values import Rate
from aintandem_notify.delivery.settlement import USUAL_PATIENCE, Patience
from aintandem_notify.domain.notification import Notification
from aintandem_notify.plugins.runtime.calls import DeliveryResult

FALLBACK_AFTER_S: Final = 900.0
"""Default of ``fallback_after`` in the config, in seconds."""


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """Settings of one destination.

    ``max_age``: seconds after which a queued delivery is given up. ``rate``: None is unlimited. ``parallel``: the
    number of hand-overs to the plugin that may run at a time. ``in_flight``: the number of deliveries in one of
    them; ``api.Plugin`` explains both.

    ``patience``: pauses of its trouble and of its messages' trouble, which no config changes.

    ``fallback``: destination that takes over deliveries that die here or wait longer than ``fallback_after``
    seconds; None: no fallback. ``digest_over``: if more deliveries than this wait after an outage, the least
    important ones are folded into a summary; None: never.
    """

    name: str
    max_age: float
    rate: Rate | None = None
    parallel: int = 1
    in_flight: int = 1
    fallback: str | None = None
    fallback_after: float = FALLBACK_AFTER_S
    digest_over: int | None = None
    patience: Patience = USUAL_PATIENCE


class Deliverer(Protocol):
    """Delivers notifications through plugin instances; implemented by ``plugins.PluginHost``."""

    def is_loaded(self, name: str) -> bool:
        """True if the instance can be called now."""
        ...

    async def wait_loaded(self, name: str) -> None:
        """Returns once the instance can be called."""
        ...

    async def deliver(self, name: str, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        """Delivers one after the other and stops after the first failure. Returns a result for each one tried.

        Several calls may run at a time.
        """
        ...
