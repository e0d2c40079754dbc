"""How commands get at an agent's state: through the running agent, or in the store itself where none runs.

The store has one owner. So whoever holds it is asked, and nobody opens it beside a running agent.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Final, Protocol

from aintandem_notify.config import OfflineConfig, load_offline_config
from aintandem_notify.control.client.offline_backend import OfflineBackend
from aintandem_notify.control.client.remote_backend import RemoteBackend
from aintandem_notify.control.deliveries import AdminAction
from aintandem_notify.control.discovery import control_file, find_endpoint
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.schemas import (
    BulkResponse,
    DeliveryDetailResponse,
    DeliveryPageResponse,
    PauseResponse,
    PluginDetailResponse,
    StatusResponse,
)
from aintandem_notify.errors import StoreInUse
from aintandem_notify.foundation.clock import Clock, SystemClock
from aintandem_notify.foundation.signals import raise_keyboard_interrupt
from aintandem_notify.store import DeliveryFilter, Store, latest_quarantined_name, store_exists

SIMULATOR_STORES_NOTHING: Final = (
    "no agent runs with this config, and one with the simulator keeps nothing over its end"
)
NO_STORE_YET: Final = "no agent runs with this config, and none has stored anything yet"
STORE_SET_ASIDE: Final = (
    "no agent runs with this config; its store was damaged or emptied and is put aside as {}, and the next agent "
    "begins anew"
)
UNREACHABLE: Final = (
    "an agent runs on this store but cannot be reached: its [control] listen may be off, or its state folder "
    "another than yours (XDG_STATE_HOME, HOME); run this command as the agent's user"
)


class ControlBackend(Protocol):
    """Where commands ask and act. Everything raises Refused, StoreError and HttpFailed, as sentences."""

    def status(self) -> StatusResponse:
        """All at a glance."""
        ...

    def plugin(self, name: str) -> PluginDetailResponse:
        """All about a plugin instance; refused where no agent runs."""
        ...

    def page(self, wanted: DeliveryFilter, *, most: int, before: int | None) -> DeliveryPageResponse:
        """The newest deliveries that are meant, before the id ``before``."""
        ...

    def show(self, reference: str) -> DeliveryDetailResponse:
        """All about one delivery."""
        ...

    def apply(self, what: AdminAction, references: Sequence[str]) -> BulkResponse:
        """Retry or drop these."""
        ...

    def apply_to_all(self, what: AdminAction, wanted: DeliveryFilter) -> BulkResponse:
        """Retry or drop all that are meant."""
        ...

    def set_paused(self, names: Sequence[str], *, paused: bool) -> PauseResponse:
        """Pause or resume these destinations; refused, and then nothing has changed, when one is unknown."""
        ...


@contextmanager
def open_backend(config: Path, clock: Clock | None = None) -> Iterator[ControlBackend]:
    """The agent with this config if it runs, else its store, which is held for as long as the block lasts.

    Raises Refused when neither can be had, and ConfigError and StoreError.
    """
    whereabouts = find_endpoint(control_file(config))
    if whereabouts is not None:
        yield RemoteBackend(whereabouts)
        return
    at_rest = load_offline_config(config)
    with raise_keyboard_interrupt(), _stored(at_rest) as store:
        yield OfflineBackend(config, store, at_rest.instances, clock or SystemClock())


def check_health(config: Path, path: str) -> str | None:
    """What the running agent complains of at ``/healthz`` or ``/readyz``; raises Refused if none runs."""
    whereabouts = find_endpoint(control_file(config))
    if whereabouts is None:
        raise RequestRefused("no agent runs with this config, or its control API is off", status=503)
    return RemoteBackend(whereabouts).health(path)


def status_without_store(config: Path, reason: str) -> StatusResponse:
    """The status where there is not even a store."""
    return StatusResponse(config=str(config.absolute()), agent=None, trouble=reason, store=None)


def _stored(at_rest: OfflineConfig) -> AbstractContextManager[Store]:
    if at_rest.store is None:
        raise NoStore(SIMULATOR_STORES_NOTHING)
    if not store_exists(at_rest.store):
        aside = latest_quarantined_name(at_rest.store)
        raise NoStore(NO_STORE_YET if aside is None else STORE_SET_ASIDE.format(aside))
    try:
        # Only an agent may begin anew: who merely asks takes nothing out of its place.
        return closing(Store(at_rest.store, quarantines_damaged=False))
    except StoreInUse:
        raise RequestRefused(UNREACHABLE, status=503) from None


class NoStore(RequestRefused):
    """There is nothing to look into."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, status=404)
