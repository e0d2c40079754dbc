"""Derives values from the config: the settings of each instance, and the changes that need a restart."""

from dataclasses import dataclass

from aintandem_notify.config import Config, InstanceConfig
from aintandem_notify.delivery import DestinationSettings
from aintandem_notify.plugins.config_loading import LoadedConfig


@dataclass(frozen=True, slots=True)
class InstanceSettings:
    """The settings of an instance and its worker. If they are equal after a reload, the instance keeps running."""

    config: InstanceConfig
    destination: DestinationSettings | None


def instance_settings(loaded: LoadedConfig) -> dict[str, InstanceSettings]:
    """Returns the settings of every instance in the config, by name."""
    return {
        name: InstanceSettings(instance, _destination(instance, loaded))
        for name, instance in loaded.config.instances.items()
    }


def _destination(instance: InstanceConfig, loaded: LoadedConfig) -> DestinationSettings | None:
    if not instance.delivers:
        return None
    settings, plugin = instance.common, loaded.catalog.latest(instance.type).attributes
    return DestinationSettings(
        name=instance.name,
        max_age=loaded.config.delivery.max_age if settings.max_age is None else settings.max_age,
        rate=settings.rate,
        in_flight=plugin.in_flight,
        fallback=settings.fallback,
        fallback_after=settings.fallback_after,
        digest_over=(plugin.digest_over if settings.digest_over is None else settings.digest_over) or None,
    )


def changes_needing_restart(old: Config, new: Config) -> tuple[str, ...]:
    """Returns the tables and keys whose change needs a restart."""
    pairs = {
        "[orchestrator]": (old.orchestrator, new.orchestrator),
        "[store]": (old.store, new.store),
        "[agent] name": (old.agent.name, new.agent.name),
        "[control]": (old.control, new.control),
        "[connection] proxy": (old.connection.proxy, new.connection.proxy),
        "[connection] no_proxy": (old.connection.no_proxy, new.connection.no_proxy),
        "[connection] allow_addresses": (old.connection.allow_addresses, new.connection.allow_addresses),
        "[connection] ca_file": (old.connection.ca_file, new.connection.ca_file),
    }
    return tuple(name for name, (before, after) in pairs.items() if before != after)
