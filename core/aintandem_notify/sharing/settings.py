"""Names and hashes of the configuration that an agent publishes to the others; never a value."""

import json
import os
import socket
from collections.abc import Mapping
from hashlib import blake2b, scrypt
from pathlib import Path
from typing import Any, Final

from aintandem_notify.config import Config, InstanceConfig, Secret
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.log import safe_text
from aintandem_notify.store.sharing.membership import ConfiguredDestination

_ROUTING_KEYS: Final = frozenset({"enabled", "events", "projects", "when", "severity", "mention"})
"""Keys of an instance that select notifications and do not affect how a delivery is made."""


def node_name(config: Config) -> str:
    """The agent's name, the same after a restart: ``[agent] name``, else the host name and the config's path."""
    if config.agent.name is not None:
        return config.agent.name
    config_path = os.path.abspath(config.source)  # noqa: PTH100  # does not follow links
    # PostgreSQL stores only valid text, and two different folders must not get the same name.
    return f"{socket.gethostname()}:{config_path}".encode("utf-8", "backslashreplace").decode()


def projects_hash_of(config: Config) -> str:
    """A hash of the orchestrator and the ids of ``[[projects]]``, in any order."""
    entries = sorted({project.id for project in config.projects})
    return blake2b(json.dumps([config.orchestrator.url, entries]).encode(), digest_size=16).hexdigest()


def configured_destinations(
    config: Config, local: Mapping[str, bool], salt: bytes
) -> dict[str, ConfiguredDestination]:
    """Every destination with a hash of its settings.

    ``local``: whether only this machine can reach a destination, by plugin type. The hash is slow and salted: it
    contains secrets, which nobody who reads the store should find by guessing.
    """
    return {
        name: ConfiguredDestination(_variant(instance, config, salt), local.get(instance.type, False))
        for name, instance in config.instances.items()
        if instance.delivers
    }


def address_hash_of(instance: InstanceConfig, salt: bytes) -> str:
    """A hash of the plugin's own settings: the destination's address and credentials."""
    own = type(instance.settings).model_fields.keys() - PluginConfig.model_fields.keys()
    return _hash([instance.type, {key: _to_json_types(getattr(instance.settings, key)) for key in own}], salt)


def _variant(instance: InstanceConfig, config: Config, salt: bytes) -> str:
    values = {key: getattr(instance.settings, key) for key in type(instance.settings).model_fields}
    published = {key: _to_json_types(value) for key, value in values.items() if key not in _ROUTING_KEYS}
    return _hash([instance.type, published, config.delivery.max_age], salt)


def _hash(values: object, salt: bytes) -> str:
    text = json.dumps(values, sort_keys=True)
    return scrypt(text.encode("utf-8", "replace"), salt=salt, n=2**12, r=8, p=1, dklen=16).hex()


def _to_json_types(value: Any) -> Any:
    """``value`` as JSON types, with secrets revealed."""
    match value:
        case Secret():
            return value.reveal()
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return str(value)
        case PluginConfig():
            return {key: _to_json_types(getattr(value, key)) for key in type(value).model_fields}
        case Mapping():
            return {str(key): _to_json_types(item) for key, item in value.items()}
        case list() | tuple():
            return [_to_json_types(item) for item in value]
        case set() | frozenset():
            return sorted(map(safe_text, value))
    return safe_text(value)
