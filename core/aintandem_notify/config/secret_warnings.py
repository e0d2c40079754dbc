"""Warnings about suspicious secrets of a valid config, for the command ``check``."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from aintandem_notify.config.findings import Finding, Place
from aintandem_notify.config.models import Config
from aintandem_notify.config.types.secret import Secret


def secret_warnings(config: Config) -> list[Finding]:
    """A finding for each suspicious secret, without any part of the secret."""
    tables = {"orchestrator": config.orchestrator, "connection": config.connection, "agent": config.agent}
    tables |= {"store": config.store}
    named_tables = [
        *(((name,), table) for name, table in tables.items()),
        *((instance.place, instance.settings) for instance in config.instances.values()),
    ]
    remarks = [
        (place, secret.remark) for prefix, table in named_tables for place, secret in _secrets(prefix, table)
    ]
    return list(dict.fromkeys(Finding(place, remark) for place, remark in remarks if remark is not None))


def _secrets(place: Place, value: object) -> Iterator[tuple[Place, Secret]]:
    match value:
        case Secret():
            yield place, value
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets((*place, name), getattr(value, name))
        case Mapping():
            for name, item in value.items():
                yield from _secrets((*place, str(name)), item)
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _secrets((*place, index), item)
