"""Warnings about suspicious secrets of a valid config, for the command ``check``."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from aintandem_notify.config.models import Config
from aintandem_notify.config.types.secret import Secret


def secret_warnings(config: Config) -> list[str]:
    """One sentence for each suspicious secret, with its key and without any part of the secret."""
    tables = {"orchestrator": config.orchestrator, "connection": config.connection, "agent": config.agent}
    tables |= {"store": config.store}
    named_tables = [
        *tables.items(),
        *((f"plugins.{name}", instance.settings) for name, instance in config.instances.items()),
    ]
    remarks = [
        (key, secret.remark) for key_prefix, table in named_tables for key, secret in _secrets(key_prefix, table)
    ]
    return list(dict.fromkeys(f"{key}: {remark}" for key, remark in remarks if remark is not None))


def _secrets(key: str, value: object) -> Iterator[tuple[str, Secret]]:
    match value:
        case Secret():
            yield key, value
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(f"{key}.{name}", getattr(value, name))
        case Mapping():
            for name, item in value.items():
                yield from _secrets(f"{key}.{name}", item)
        case list() | tuple():
            for item in value:
                yield from _secrets(key, item)
