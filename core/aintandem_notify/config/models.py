"""The configuration as frozen values, made by ``load`` and used by all other packages.

All times are float seconds. Everything compares by value, so a reload can find the changes.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Final, Literal, get_type_hints

import platformdirs
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    WithJsonSchema,
)

from aintandem_notify import log
from aintandem_notify.config.findings import Place
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.config.rule_config import NonEmptyText, QuietConfig, RuleConfig, Table
from aintandem_notify.config.types.addresses import (
    OFF,
    SIMULATOR,
    address_ranges,
    base_address,
    certificates,
    console_address,
    heartbeat_address,
    loopback_address,
    orchestrator_url,
    proxy_address,
    proxy_exemptions,
    store_url,
    user_name,
)
from aintandem_notify.config.types.outbound import Outbound
from aintandem_notify.config.types.values import (
    Duration,
    FilePath,
    PositiveDuration,
    Secret,
    Template,
)
from aintandem_notify.config.watch_config import WatchConfig
from aintandem_notify.domain.events import DOT_SEGMENTS, MAX_ID_CHARACTERS
from aintandem_notify.domain.health import UNREADY_BY_DEFAULT, ReasonId
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.postgres_urls import POSTGRES_SCHEMES
from aintandem_notify.log import LogFormat, LogLevel

STORE_SUFFIX: Final = ".sqlite3"
_MAX_STEM_BYTES: Final = 200
"""Bytes; a file name has 255 on most systems, and our longest suffix has 50."""
_GLOB_CHARACTERS: Final = frozenset("*?[")


class OrchestratorConfig(Table):
    """``[orchestrator]``: the source of the events, and the login for it.

    ``console_url`` is a template over event, run and project.
    """

    url: Annotated[str, AfterValidator(orchestrator_url), AfterValidator(base_address)] = Field(
        description='http:// or https:// address of the orchestrator, or "simulator" for the embedded one',
        examples=["http://localhost:9900", SIMULATOR],
    )
    username: Annotated[NonEmptyText, AfterValidator(user_name)] | None = Field(
        None, description="the user to log in as; goes with password"
    )
    password: Secret | None = Field(None, description="the password of username")
    token: Secret | None = Field(None, description="a token to use as it is, instead of a login")
    console_url: Annotated[Template, AfterValidator(console_address)] | None = Field(
        None,
        description="the link in notifications; a Jinja2 template over event, run and project",
        examples=["https://console.example/projects/{{ project.id }}"],
    )

    @property
    def embedded(self) -> bool:
        """True if the simulator in this package is the orchestrator."""
        return self.url == SIMULATOR


def _refuse_dot_segment(project_id: str) -> str:
    if project_id in DOT_SEGMENTS:
        raise ValueError(f"cannot be {project_id!r}: in a URL that means another folder")
    return project_id


class ProjectConfig(Table):
    """``[[projects]]``: a project to watch, or a glob over the projects that the orchestrator lists."""

    id: Annotated[NonEmptyText, Field(max_length=MAX_ID_CHARACTERS), AfterValidator(_refuse_dot_segment)] = Field(
        description="the project's id; a glob watches every project it matches", examples=["project-123", "*"]
    )
    name: NonEmptyText | None = Field(None, description="the name of the project in notifications")

    @property
    def is_glob(self) -> bool:
        """True if ``id`` is a glob over the projects that the orchestrator lists."""
        return not _GLOB_CHARACTERS.isdisjoint(self.id)


def _reconnect_attempts(value: object) -> int | None:
    if value is None or value == "unlimited":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError('should be "unlimited" or a whole number of at least 0')


class ConnectionConfig(Table):
    """``[connection]``: connecting and reconnecting to the orchestrator, proxy and TLS. Times in seconds.

    ``reconnect_attempts`` None means unlimited.
    """

    connect_timeout: PositiveDuration = Field(10.0, description="how long connecting may take")
    heartbeat_interval: PositiveDuration = Field(30.0, description="pause between two pings")
    reconnect_initial_delay: PositiveDuration = Field(
        1.0, description="the ceiling of the first pause before reconnecting; doubles with each failure"
    )
    reconnect_max_delay: PositiveDuration = Field(30.0, description="the ceiling that the pauses grow to")
    reconnect_attempts: Annotated[
        int | None,
        BeforeValidator(_reconnect_attempts),
        WithJsonSchema({"anyOf": [{"const": "unlimited"}, {"type": "integer", "minimum": 0}]}),
    ] = Field(None, description='how many attempts in a row before a project is given up, or "unlimited"')
    catch_up_max: Duration = Field(
        86400.0,
        description="runs that ended longer ago than this are only counted, not reported, after a gap",
    )
    discover_interval: PositiveDuration = Field(300.0, description="how often project globs are looked up again")
    proxy: Annotated[Secret | None, AfterValidator(proxy_address)] = Field(
        None, description="the http:// or https:// proxy for every outgoing connection; may hold a login"
    )
    no_proxy: Annotated[tuple[NonEmptyText, ...], AfterValidator(proxy_exemptions)] = Field(
        (),
        description="hosts, domains, addresses and address ranges to reach without the proxy",
        examples=[["localhost", "127.0.0.0/8", ".internal.example"]],
    )
    allow_addresses: Annotated[tuple[NonEmptyText, ...], AfterValidator(address_ranges)] = Field(
        (),
        description="addresses and ranges to allow although cloud metadata services use them",
        examples=[["169.254.10.0/24"]],
    )
    ca_file: Annotated[FilePath | None, AfterValidator(certificates)] = Field(
        None, description="PEM file of certificate authorities to trust beside the system's"
    )

    @property
    def proxy_url(self) -> str | None:
        """The proxy's URL as written, including its login."""
        return None if self.proxy is None else self.proxy.reveal()

    @property
    def outbound(self) -> Outbound:
        """The proxy, its exemptions and the allowed addresses, for outgoing connections."""
        return Outbound.parse(self.proxy_url, self.no_proxy, self.allow_addresses)


def _single_key_table(key: str, description: str) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {key: {"type": "string", "description": description}},
        "required": [key],
        "additionalProperties": False,
    }


_STORE_URL_PATTERN: Final = f"^(sqlite:///|({'|'.join(map(re.escape, POSTGRES_SCHEMES))})://)."
_STORE_URL_SCHEMA: Final = {
    "anyOf": [
        {"type": "string", "pattern": _STORE_URL_PATTERN},
        _single_key_table("env", "name of an environment variable"),
        _single_key_table("file", "path of a file, relative to the config"),
    ]
}


def _at_least_a_day(seconds: float) -> float:
    # Yesterday's notifications must still be stored, or they would be sent again.
    if seconds < 86400.0:
        raise ValueError("should be at least 1d")
    return seconds


class StoreConfig(Table):
    """``[store]``: the location of the durable state; None means the default file of ``state_file``.

    ``url`` is a secret for PostgreSQL, since it may hold a password.
    """

    url: Annotated[str | Secret | None, PlainValidator(store_url), WithJsonSchema(_STORE_URL_SCHEMA)] = Field(
        None,
        description=(
            "sqlite:/// and a path, relative to the config file, or postgresql://user@host/dbname, "
            "which several agents may share; by default a file in the user's state folder"
        ),
        examples=["sqlite:///state.db", "postgresql://notify@db.example/notify"],
    )
    keep: Annotated[Duration, AfterValidator(_at_least_a_day)] = Field(
        30 * 86400.0,
        description="how long events, ended runs and ended deliveries are kept; at least 1d",
    )


class DeliveryConfig(Table):
    """``[delivery]``: settings for all destinations. Times in seconds."""

    drain_timeout: Duration = Field(
        10.0, description="how long deliveries in flight may take to finish when the agent stops"
    )
    max_age: Duration = Field(
        259200.0, description="deliveries that wait longer for their destination are given up"
    )


def _no_starting(reasons: tuple[ReasonId, ...]) -> tuple[ReasonId, ...]:
    if ReasonId.STARTING in reasons:
        raise ValueError("should not name starting: an agent that is starting is never ready")
    return tuple(dict.fromkeys(reasons))


def _at_least_a_second(seconds: float) -> float:
    if seconds < 1:
        raise ValueError("should be at least 1s: each request goes to somebody else's service")
    return seconds


class AgentConfig(Table):
    """``[agent]``: the agent as a whole. Times in seconds."""

    name: NonEmptyText | None = Field(
        None,
        description=(
            "the name of this agent among those that share a store; stays the same after a restart; "
            "by default made of the machine's name and the path of the config"
        ),
    )
    heartbeat_url: Annotated[Secret | None, AfterValidator(heartbeat_address)] = Field(
        None,
        description=(
            "a URL to ping regularly unless the agent is failing; the dead man's switch behind it alerts otherwise"
        ),
    )
    heartbeat_style: Literal["auto", "healthchecks", "plain"] = Field(
        "auto",
        description=(
            "healthchecks: also /start, /fail and /log behind heartbeat_url, with the reasons; "
            "plain: only heartbeat_url itself, and nothing while the agent is failing; "
            "auto: healthchecks for an address that looks like one of healthchecks.io, else plain"
        ),
    )
    heartbeat_interval: Annotated[Duration, AfterValidator(_at_least_a_second)] = Field(
        60.0, description="pause between two pings, at least 1s"
    )


class HealthConfig(Table):
    """``[health]``: when the agent is not well. Times in seconds."""

    after: PositiveDuration = Field(
        120.0,
        description=(
            "how long a link may be down, a destination back off or the orchestrator be out of reach before the "
            "agent is degraded and says so"
        ),
    )
    unready: Annotated[tuple[ReasonId, ...], AfterValidator(_no_starting)] = Field(
        UNREADY_BY_DEFAULT,
        description=(
            "the reasons with which the agent is failing: it is not ready, and its heartbeat reports a failure"
        ),
    )


class EpisodesConfig(Table):
    """``[episodes]``: the trouble that somebody was told of. Times in seconds."""

    expire: PositiveDuration = Field(
        86400.0, description="an episode without an end is over this long after its last trouble"
    )


class ControlConfig(Table):
    """``[control]``: the control API of the running agent."""

    listen: Annotated[str, AfterValidator(loopback_address)] = Field(
        "127.0.0.1:0",
        description='the loopback address and port that commands connect to, 0 for a free port; or "off"',
        examples=["127.0.0.1:9901", "[::1]:0", "off"],
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on, 0 for a free port; None if it is off."""
        if self.listen == OFF:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class LogConfig(Table):
    """``[log]``: the agent's own log, on standard error."""

    level: LogLevel = Field("info", description="the lowest level that is logged")
    format: LogFormat = Field("auto", description="text, json, or auto: text on a terminal and JSON elsewhere")


@dataclass(frozen=True, slots=True, eq=False)
class InstanceConfig:
    """A configured plugin that is enabled: ``name`` is ``slack.team``, ``type`` is ``slack``.

    ``delivers`` is true for destinations, ``is_for_people`` for those of which people read each notification.
    ``settings`` is the plugin's own model; ``common`` has the keys of every instance, in a model of ours that the
    plugin cannot change.
    """

    name: str
    type: str
    delivers: bool
    settings: PluginConfig
    common: PluginConfig
    is_for_people: bool = True

    @property
    def place(self) -> Place:
        """The place of its table in the config."""
        return ("plugins", *self.name.split("."))

    def __eq__(self, other: object) -> bool:
        """True if a reload need not restart the instance. Settings whose comparison raises are unequal."""
        if not isinstance(other, InstanceConfig):
            return NotImplemented
        ours = (self.name, self.type, self.delivers, self.common)
        theirs = (other.name, other.type, other.delivers, other.common)
        return ours == theirs and log.is_equal(self.settings, other.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A valid configuration. ``source`` is its file; relative paths start at ``base_dir``.

    ``instances`` has the enabled plugin instances by name, in file order.
    """

    source: Path
    base_dir: Path
    orchestrator: OrchestratorConfig
    projects: tuple[ProjectConfig, ...]
    instances: Mapping[str, InstanceConfig] = field(default_factory=dict)
    rules: tuple[RuleConfig, ...] = ()
    watches: tuple[WatchConfig, ...] = ()
    quiet: Mapping[str, QuietConfig] = field(default_factory=dict)
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    delivery: DeliveryConfig = field(default_factory=DeliveryConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    episodes: EpisodesConfig = field(default_factory=EpisodesConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    log: LogConfig = field(default_factory=LogConfig)
    plugins_dir: Path = Path("plugins")


OPTIONAL_TABLES: Final[Mapping[str, type[Table]]] = {
    name: kind
    for name, kind in get_type_hints(Config).items()
    if isinstance(kind, type) and issubclass(kind, Table) and kind is not OrchestratorConfig
}
"""The tables that a document may leave out. These names follow from the fields of ``Config``."""
TABLE_LISTS: Final[Mapping[str, type[Table]]] = {
    "projects": ProjectConfig,
    "rules": RuleConfig,
    "watches": WatchConfig,
}
NAMED_TABLES: Final[Mapping[str, type[Table]]] = {"quiet": QuietConfig}
TOP_LEVEL_KEYS: Final = ("plugins_dir", "orchestrator", *TABLE_LISTS, *NAMED_TABLES, "plugins", *OPTIONAL_TABLES)
"""The keys at the top of a document."""


def store_location(source: Path, store: StoreConfig, *, embedded: bool) -> str | Path | None:
    """The location of the durable state: a URL or a file; None for a temporary one.

    Events of the ``embedded`` simulator are not kept. Raises StoreError as ``state_file``.
    """
    if store.url is not None:
        return store.url.reveal() if isinstance(store.url, Secret) else store.url
    return None if embedded else state_file(source, STORE_SUFFIX)


def state_file(source: Path, suffix: str, state_dir: Path | None = None) -> Path:
    """The file of state for the config file ``source``: no two configs share one by accident.

    It is in ``state_dir`` (default: the user's state folder of this program), named after the config file and a
    hash of its absolute path. Links are not followed: a mounted config that is replaced behind a link keeps its
    store. Raises StoreError for a user without a home directory.
    """
    folder = state_dir or _user_state_dir()
    absolute = os.path.abspath(source)  # noqa: PTH100  # Path.absolute keeps "..", resolve follows links
    digest = blake2b(os.fsencode(absolute), digest_size=6).hexdigest()
    stem = source.stem if len(os.fsencode(source.stem)) <= _MAX_STEM_BYTES else source.stem[: _MAX_STEM_BYTES // 4]
    return folder / f"{stem}-{digest}{suffix}"


def _user_state_dir() -> Path:
    try:
        folder = platformdirs.user_state_path("aintandem-notify", appauthor=False)
    except RuntimeError:
        folder = Path("~")
    if not folder.is_absolute():  # older versions of platformdirs leave the ~ as it is
        raise StoreError("this user has no home folder to keep the state in; set HOME, or url in [store]")
    return folder
