"""What an agent tells the others of its configuration: names and hashes, never a value."""

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

_WHO_GETS_WHAT: Final = frozenset({"enabled", "events", "projects", "when", "severity", "mention"})
"""Keys of an instance that say nothing about how a delivery is made."""


def node_name(config: Config) -> str:
    """What the agent is called over its restarts: ``[agent] name``, else the machine and the config's path."""
    if config.agent.name is not None:
        return config.agent.name
    place = os.path.abspath(config.source)  # noqa: PTH100  # links are not followed
    # PostgreSQL keeps no bytes that are no text, and two folders must not come to have one name there.
    return f"{socket.gethostname()}:{place}".encode("utf-8", "backslashreplace").decode()


def projects_hash_of(config: Config) -> str:
    """A hash of what is to be watched: the orchestrator and the entries of ``[[projects]]``, in any order."""
    entries = sorted({project.id for project in config.projects})
    return blake2b(json.dumps([config.orchestrator.url, entries]).encode(), digest_size=16).hexdigest()


def configured_destinations(
    config: Config, local: Mapping[str, bool], salt: bytes
) -> dict[str, ConfiguredDestination]:
    """Every destination, with a hash of its settings.

    ``local``: the plugin types whose destinations can only be reached from this machine. The hash is slow and
    salted, since secrets go into it and whoever reads the store must not find them by guessing.
    """
    return {
        name: ConfiguredDestination(_variant(instance, config, salt), local.get(instance.type, False))
        for name, instance in config.instances.items()
        if instance.delivers
    }


def location_hash_of(instance: InstanceConfig, salt: bytes) -> str:
    """A hash of what only the plugin knows: where the destination is, and how to get in."""
    own = type(instance.settings).model_fields.keys() - PluginConfig.model_fields.keys()
    return _hashed([instance.type, {key: _plain(getattr(instance.settings, key)) for key in own}], salt)


def _variant(instance: InstanceConfig, config: Config, salt: bytes) -> str:
    values = {key: getattr(instance.settings, key) for key in type(instance.settings).model_fields}
    told = {key: _plain(value) for key, value in values.items() if key not in _WHO_GETS_WHAT}
    return _hashed([instance.type, told, config.delivery.max_age], salt)


def _hashed(values: object, salt: bytes) -> str:
    text = json.dumps(values, sort_keys=True)
    return scrypt(text.encode("utf-8", "replace"), salt=salt, n=2**12, r=8, p=1, dklen=16).hex()


def _plain(value: Any) -> Any:
    """``value`` as JSON has it, secrets as they are."""
    match value:
        case Secret():
            return value.reveal()
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return str(value)
        case PluginConfig():
            return {key: _plain(getattr(value, key)) for key in type(value).model_fields}
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case set() | frozenset():
            return sorted(map(safe_text, value))
    return safe_text(value)
