"""What a client is made with, checked by the same rules as the agent's config file."""

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import ValidationError

from aintandem_notify.config import ConnectionConfig, OrchestratorConfig
from aintandem_notify.errors import ConfigError, Problem

SOURCE: Final = "AInTandemClient"
"""Where ConfigError says that the problems are."""


def checked_url(base_url: str) -> str:
    """The address without a slash at its end; raises ConfigError."""
    problems: list[Problem] = []
    try:
        config = OrchestratorConfig.model_validate({"url": base_url})
        if not config.embedded:
            return config.url
        problems = [Problem("should begin with http:// or https://", "base_url")]
    except ValidationError as error:
        problems = _problems(error, lambda _: "base_url")
    raise ConfigError(problems, SOURCE)


def checked_connection(settings: Mapping[str, object]) -> ConnectionConfig:
    """How connections are made and kept; raises ConfigError with one problem a setting."""
    try:
        return ConnectionConfig.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(_problems(error, lambda name: name), SOURCE) from None


def _problems(error: ValidationError, named: Callable[[str], str]) -> list[Problem]:
    # Without the inputs: a proxy's address holds a password.
    return [
        Problem(found["msg"].removeprefix("Value error, "), named(".".join(map(str, found["loc"]))))
        for found in error.errors(include_input=False, include_url=False)
    ]
