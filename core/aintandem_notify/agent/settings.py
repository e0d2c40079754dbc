"""Derives values from the config: the settings of each instance, and the changes of a reload."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

from aintandem_notify.config import Config, InstanceConfig
from aintandem_notify.delivery import DestinationSettings
from aintandem_notify.domain.reload import ReloadResult
from aintandem_notify.plugins.config_loading import LoadedConfig

_NOT_TABLES: Final = frozenset({"source", "base_dir", "instances"})
"""The fields of ``Config`` that are no tables, or whose changes a result names one by one."""
_TABLE_NAMES: Final = {"rules": "[[rules]]", "projects": "[[projects]]", "plugins_dir": "plugins_dir"}
"""The names of tables and keys that are not ``[field]``."""


@dataclass(frozen=True, slots=True)
class InstanceSettings:
    """The settings of an instance and its worker. If they are equal after a reload, the instance keeps running.

    ``code`` is the identity of the plugin's class: a changed plugin file restarts every instance of it.
    """

    config: InstanceConfig
    destination: DestinationSettings | None
    code: int


def instance_settings(loaded: LoadedConfig) -> dict[str, InstanceSettings]:
    """Returns the settings of every instance in the config, by name."""
    return {
        name: InstanceSettings(
            instance, _destination(instance, loaded), id(loaded.catalog.latest(instance.type).plugin_class)
        )
        for name, instance in loaded.config.instances.items()
    }


def _destination(instance: InstanceConfig, loaded: LoadedConfig) -> DestinationSettings | None:
    if not instance.delivers:
        return None
    settings, descriptor = instance.common, loaded.catalog.latest(instance.type)
    plugin = descriptor.attributes
    return DestinationSettings(
        name=instance.name,
        max_age=loaded.config.delivery.max_age if settings.max_age is None else settings.max_age,
        rate=settings.rate,
        parallel=descriptor.parallel(settings),
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


def reload_result(old: LoadedConfig, new: LoadedConfig, failed: Collection[str], now: datetime) -> ReloadResult:
    """Returns the changes from ``old`` to ``new``. Instances that ``failed`` are restarted in any case."""
    before, after = instance_settings(old), instance_settings(new)
    projects_before, projects_after = _project_ids(old.config), _project_ids(new.config)
    return ReloadResult(
        at=now,
        config=str(new.config.source),
        started=tuple(name for name in after if name not in before),
        stopped=tuple(name for name in before if name not in after),
        restarted=tuple(
            name for name in before if name in after and (name in failed or before[name] != after[name])
        ),
        projects_added=tuple(each for each in projects_after if each not in projects_before),
        projects_removed=tuple(each for each in projects_before if each not in projects_after),
        changed=tuple(
            _TABLE_NAMES.get(field.name, f"[{field.name}]")
            for field in fields(Config)
            if field.name not in _NOT_TABLES and getattr(old.config, field.name) != getattr(new.config, field.name)
        ),
    )


def changed_plugins(old: LoadedConfig, new: LoadedConfig) -> dict[str, tuple[str, ...]]:
    """Returns the running instances of each plugin whose code has changed, by where the plugin comes from."""
    before, after = instance_settings(old), instance_settings(new)
    changed: dict[str, tuple[str, ...]] = {}
    for name in before.keys() & after.keys():
        if before[name].code != after[name].code:
            origin = new.catalog.latest(after[name].config.type).origin
            changed[origin] = tuple(sorted((*changed.get(origin, ()), name)))
    return changed


def _project_ids(config: Config) -> tuple[str, ...]:
    return tuple(dict.fromkeys(project.id for project in config.projects))
