"""Chooses how a command reaches an agent's state: over the running agent's control API, or in its store.

A store has one owner. Commands therefore ask the running agent, and open the store only where no agent runs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from aintandem_notify.config import OfflineConfig, load_offline_config
from aintandem_notify.control.client.offline_backend import OfflineBackend
from aintandem_notify.control.client.remote_backend import SLOW_S, RemoteBackend
from aintandem_notify.control.deliveries import AdminAction
from aintandem_notify.control.discovery import control_file, find_endpoint
from aintandem_notify.control.episodes.changes import Snooze
from aintandem_notify.control.episodes.schemas import (
    AcknowledgementResponse,
    EpisodeEndResponse,
    EpisodeListResponse,
)
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.explain.answers import explain_with_file
from aintandem_notify.control.explain.made_up import MadeUpEvent
from aintandem_notify.control.explain.schemas import ExplanationResponse
from aintandem_notify.control.schemas import (
    BulkResponse,
    DeliveryDetailResponse,
    DeliveryPageResponse,
    DestinationListResponse,
    HealthAnswer,
    PauseResponse,
    PluginDetailResponse,
    ReloadResponse,
    SilenceListResponse,
    SilenceResponse,
    StatusResponse,
)
from aintandem_notify.errors import StoreInUse
from aintandem_notify.foundation.clock import Clock, SystemClock
from aintandem_notify.foundation.signals import raise_keyboard_interrupt
from aintandem_notify.store import DeliveryFilter, Store, latest_quarantined_name, store_exists

SIMULATOR_STORES_NOTHING: Final = (
    "no agent runs with this config, and an agent with the simulator deletes its store when it ends"
)
NO_STORE_YET: Final = "no agent runs with this config, and none has stored anything yet"
STORE_PUT_ASIDE: Final = (
    "no agent runs with this config; its store was damaged or emptied and is put aside as {}, and the next agent "
    "begins with an empty store"
)
UNREACHABLE: Final = (
    "an agent runs on this store but cannot be reached: its [control] listen may be off, or it uses a different "
    "state folder (XDG_STATE_HOME, HOME); run this command as the agent's user"
)


class ControlBackend(Protocol):
    """The operations of the commands. Each raises RequestRefused, StoreError or HttpFailed with a sentence."""

    def status(self) -> StatusResponse:
        """Returns the state of the agent, its projects, plugins, destinations and store."""
        ...

    def plugin(self, name: str) -> PluginDetailResponse:
        """Returns everything about a plugin instance. Raises RequestRefused where no agent runs."""
        ...

    def destinations(self) -> DestinationListResponse:
        """Returns the destinations of the config, and those that only have a queue."""
        ...

    def page(self, delivery_filter: DeliveryFilter, *, limit: int, before: int | None) -> DeliveryPageResponse:
        """Returns up to ``limit`` matching deliveries with an id below ``before``, the newest first."""
        ...

    def show(self, reference: str) -> DeliveryDetailResponse:
        """Returns everything about one delivery."""
        ...

    def apply(self, action: AdminAction, references: Sequence[str]) -> BulkResponse:
        """Retries or drops these deliveries."""
        ...

    def apply_to_all(self, action: AdminAction, delivery_filter: DeliveryFilter) -> BulkResponse:
        """Retries or drops all matching deliveries."""
        ...

    def set_paused(self, names: Sequence[str], *, paused: bool) -> PauseResponse:
        """Pauses or resumes these destinations.

        Raises RequestRefused, and has changed nothing, if one of them is unknown.
        """
        ...

    def silences(self) -> SilenceListResponse:
        """Returns the active silences, the next to expire first."""
        ...

    def add_silence(
        self, matchers: Mapping[str, str], *, expires_at: datetime, owner: str, reason: str
    ) -> SilenceResponse:
        """Adds a silence that begins now."""
        ...

    def end_silences(self, silence_ids: Sequence[str]) -> SilenceListResponse:
        """Ends these silences, and returns them.

        Raises RequestRefused, and has changed nothing, if one of them is not active.
        """
        ...

    def episodes(self, *, with_ended: bool) -> EpisodeListResponse:
        """Returns the open episodes, the oldest first; then the last ended ones if wanted."""
        ...

    def end_episodes(self, references: Sequence[str]) -> EpisodeEndResponse:
        """Ends these episodes; whoever was told of the trouble is told.

        Raises RequestRefused, and has changed nothing, if one of them is not open.
        """
        ...

    def acknowledge(self, references: Sequence[str], by: str) -> AcknowledgementResponse:
        """Ends reminders and escalation of these episodes. Raises RequestRefused as ``end_episodes``."""
        ...

    def snooze(self, wanted: Snooze) -> SilenceResponse:
        """Silences the subject of an episode. Raises RequestRefused if it is not open."""
        ...

    def explain(self, reference: str) -> ExplanationResponse:
        """Returns the fate of the events that ``reference`` names.

        It is the id of a notification, of a task, workflow execution or sandbox, the number of a delivery, or the
        key of an event.
        """
        ...


@contextmanager
def open_backend(config: Path, clock: Clock | None = None) -> Iterator[ControlBackend]:
    """Yields a backend for the agent with this config if it runs, else for its store, open during the block.

    Raises RequestRefused if neither can be reached, ConfigError and StoreError.
    """
    endpoint = find_endpoint(control_file(config))
    if endpoint is not None:
        yield RemoteBackend(endpoint)
        return
    offline_config = load_offline_config(config)
    with raise_keyboard_interrupt(), _open_store(offline_config) as store:
        yield OfflineBackend(config, store, offline_config.instances, clock or SystemClock())


def explain_made_up(
    config: Path, made_up: MadeUpEvent, *, as_written: bool, clock: Clock | None = None
) -> ExplanationResponse:
    """Returns the fate that an event would have which has not happened.

    Asks the running agent, unless the rules of the file should be asked ``as_written``. If none runs, reads the
    file, and the silences and windows of its store if there is one. Raises RequestRefused, ConfigError and
    StoreError.
    """
    endpoint = find_endpoint(control_file(config))
    if endpoint is not None and not as_written:
        return RemoteBackend(endpoint).explain_made_up(made_up)
    now = (clock or SystemClock()).now()
    if endpoint is not None:  # it has the store
        return explain_with_file(config, made_up, None, now)
    with raise_keyboard_interrupt(), _open_store_if_any(config) as store:
        return explain_with_file(config, made_up, store, now)


@contextmanager
def _open_store_if_any(config: Path) -> Iterator[Store | None]:
    try:
        block = _open_store(load_offline_config(config))
    except NoStore:
        yield None
        return
    with block as store:
        yield store


def check_health(config: Path, path: str) -> HealthAnswer:
    """Returns the answer of the running agent at ``/healthz`` or ``/readyz``.

    Raises RequestRefused if no agent runs.
    """
    endpoint = find_endpoint(control_file(config))
    if endpoint is None:
        raise RequestRefused("no agent runs with this config, or its control API is off", status=503)
    return RemoteBackend(endpoint).health(path)


def reload_agent(
    config: Path, *, timeout_s: float, on_slow: Callable[[], None], slow_s: float = SLOW_S
) -> ReloadResponse:
    """Has the running agent read its config again, and returns the outcome.

    Calls ``on_slow`` once if that takes more than ``slow_s`` seconds. Raises RequestRefused if no agent runs, or
    if it has not finished after ``timeout_s`` seconds.
    """
    endpoint = find_endpoint(control_file(config))
    if endpoint is None:
        raise RequestRefused(
            "no agent runs with this config, or its control API is off; such an agent reads its config again on "
            "SIGHUP, and its log has the result",
            status=503,
        )
    return RemoteBackend(endpoint).reload(timeout_s=timeout_s, on_slow=on_slow, slow_s=slow_s)


def status_without_store(config: Path, reason: str) -> StatusResponse:
    """Returns the status where there is neither an agent nor a store."""
    return StatusResponse(config=str(config.absolute()), agent=None, trouble=reason, store=None)


def _open_store(offline_config: OfflineConfig) -> AbstractContextManager[Store]:
    if offline_config.store is None:
        raise NoStore(SIMULATOR_STORES_NOTHING)
    if not store_exists(offline_config.store):
        quarantined = latest_quarantined_name(offline_config.store)
        if quarantined is not None:
            raise NoStore(STORE_PUT_ASIDE.format(quarantined))
        new = offline_config.new_store
        raise NoStore(NO_STORE_YET if new is None else f"{NO_STORE_YET}: {new.sentence}")
    try:
        # Only an agent may put a damaged store aside; a command moves no files.
        return closing(Store(offline_config.store, quarantines_damaged=False))
    except StoreInUse:
        raise RequestRefused(UNREACHABLE, status=503) from None


class NoStore(RequestRefused):
    """There is no store to open."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, status=404)
