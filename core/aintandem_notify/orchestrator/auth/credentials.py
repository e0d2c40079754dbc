"""The credentials of a session: a login, or a token that somebody else obtained."""

from dataclasses import dataclass

from aintandem_notify.config import OrchestratorConfig, Secret


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and a password."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token that somebody else obtained; it cannot be renewed."""

    token: Secret


Credentials = Login | StaticToken


def credentials_from_config(config: OrchestratorConfig) -> Credentials:
    """The credentials in ``[orchestrator]`` of a valid config. Raises ValueError for the embedded simulator's."""
    if config.token is not None:
        return StaticToken(config.token)
    if config.username is None or config.password is None:
        raise ValueError("no token and no complete login")
    return Login(config.username, config.password)
