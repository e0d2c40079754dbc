"""The credentials of a session: a login, or a token that somebody else obtained."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aintandem_notify.config import Config, OrchestratorConfig, Secret
from aintandem_notify.simulator import DEFAULT_PROJECTS, open_simulator


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


@asynccontextmanager
async def open_orchestrator(config: Config) -> AsyncIterator[tuple[str, Credentials]]:
    """The URL and the credentials that the config means. If that is the embedded simulator, it runs meanwhile."""
    if not config.orchestrator.embedded:
        yield config.orchestrator.url, credentials_from_config(config.orchestrator)
        return
    ids = tuple(project.id for project in config.projects if not project.is_glob)
    async with open_simulator(demo_projects=ids or DEFAULT_PROJECTS) as simulator:
        yield simulator.url, Login(simulator.username, Secret(simulator.password))
