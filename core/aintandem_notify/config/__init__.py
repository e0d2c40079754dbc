"""The configuration: reads TOML into frozen models, resolves secrets, and reports every error with its line."""

from aintandem_notify.config.load import OfflineConfig, load, load_offline_config, locate
from aintandem_notify.config.models import (
    AgentConfig,
    Config,
    ConnectionConfig,
    ControlConfig,
    DeliveryConfig,
    HealthConfig,
    InstanceConfig,
    LogConfig,
    OrchestratorConfig,
    ProjectConfig,
    StoreConfig,
    state_file,
    store_location,
)
from aintandem_notify.config.moved_store import NewStore, new_store, note_config_path
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.config.plugin_tables.catalog import PluginCatalog, PluginType
from aintandem_notify.config.rule_config import GroupConfig, QuietConfig, RuleConfig, ThrottleConfig
from aintandem_notify.config.schema import json_schema
from aintandem_notify.config.types.outbound import DIRECT, Outbound
from aintandem_notify.config.types.values import (
    Duration,
    FilePath,
    Rate,
    RuleLanguage,
    Secret,
    ValidationContext,
    format_duration,
    parse_duration,
)

__all__ = [
    "DIRECT",
    "AgentConfig",
    "Config",
    "ConnectionConfig",
    "ControlConfig",
    "DeliveryConfig",
    "Duration",
    "FilePath",
    "GroupConfig",
    "HealthConfig",
    "InstanceConfig",
    "LogConfig",
    "NewStore",
    "OfflineConfig",
    "OrchestratorConfig",
    "Outbound",
    "PluginCatalog",
    "PluginConfig",
    "PluginType",
    "ProjectConfig",
    "QuietConfig",
    "Rate",
    "RuleConfig",
    "RuleLanguage",
    "Secret",
    "StoreConfig",
    "ThrottleConfig",
    "ValidationContext",
    "format_duration",
    "json_schema",
    "load",
    "load_offline_config",
    "locate",
    "new_store",
    "note_config_path",
    "parse_duration",
    "state_file",
    "store_location",
]
