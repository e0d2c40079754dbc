"""What is odd about the secrets of a config that is right, for ``check``."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from aintandem_notify.config.models import Config
from aintandem_notify.config.types.secret import Secret


def secret_warnings(config: Config) -> list[str]:
    """One sentence for each odd secret, with the key that it stands at; none holds anything of a secret."""
    tables = {"orchestrator": config.orchestrator, "connection": config.connection, "agent": config.agent}
    tables |= {"store": config.store}
    places = [*tables.items(), *((f"plugins.{name}", one.settings) for name, one in config.instances.items())]
    found = [(key, secret.remark) for place, table in places for key, secret in _secrets(place, table)]
    return list(dict.fromkeys(f"{key}: {remark}" for key, remark in found if remark is not None))


def _secrets(place: str, value: object) -> Iterator[tuple[str, Secret]]:
    match value:
        case Secret():
            yield place, value
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(f"{place}.{name}", getattr(value, name))
        case Mapping():
            for name, item in value.items():
                yield from _secrets(f"{place}.{name}", item)
        case list() | tuple():
            for item in value:
                yield from _secrets(place, item)
