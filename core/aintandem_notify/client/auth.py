"""``client.auth``: logging in and out, and what can be known about it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from aintandem_notify.client.lifetime import ClientLifetime
from aintandem_notify.config import Secret
from aintandem_notify.errors import AuthenticationFailed
from aintandem_notify.orchestrator import Login, Session


@dataclass(frozen=True, slots=True)
class User:
    """Whom the orchestrator takes us for; ``id`` is None where it does not say.

    Example::

        user = await client.auth.login("admin", "admin123")
        print(user.username, user.id)
    """

    username: str
    id: str | None = None


class Auth:
    """The client's login. Reach it as ``client.auth``.

    Tokens are renewed by themselves, in time and when they are refused. Once they can be renewed no more, the
    client logs in again with the password of the last ``login``, which it keeps in memory until ``logout``.
    """

    def __init__(
        self, session: Session, lifetime: ClientLifetime, disconnect_all: Callable[[], Awaitable[None]]
    ) -> None:
        self._session = session
        self._lifetime = lifetime
        self._disconnect_all = disconnect_all

    async def login(self, username: str, password: str) -> User:
        """Log in, in place of whoever was logged in before. Sockets that are open stay with the old login.

            user = await client.auth.login("admin", "admin123")

        Raises AuthenticationFailed when the orchestrator refuses; ServerTrouble, another ApiError or HttpFailed
        when it has trouble or gives no answer. The login before is then as it was.
        """
        with self._lifetime.tracked_call():
            answer = await self._session.login(Login(username, Secret(password)))
        told = answer.get("user") if isinstance(answer, dict) else None
        fields = told if isinstance(told, dict) else {}
        name, identity = fields.get("username"), fields.get("id")
        return User(name if isinstance(name, str) else username, None if identity is None else str(identity))

    async def logout(self) -> None:
        """Close all sockets, give the token back, and forget it, the password and what the token store holds.

            await client.auth.logout()

        That the orchestrator cannot be told is only logged. Raises TokenStoreError when the store cannot be
        emptied; all the rest is done then.
        """
        with self._lifetime.tracked_call():
            await self._disconnect_all()
            await self._session.forget()

    async def refresh(self) -> None:
        """Renew the token now. There is no need to: it is done in time.

            await client.auth.refresh()

        Raises NotLoggedIn, AuthenticationFailed when neither a refresh nor another login is accepted, or the token
        was given; ApiError or HttpFailed when there is trouble. The token that there is stays in use then, as long
        as it is good. Cancelled, it may still take some seconds to keep what the orchestrator answers.
        """
        with self._lifetime.tracked_call():
            await self._session.refresh()

    async def verify(self) -> bool:
        """Ask the orchestrator whether it accepts our token. False without a login, or with one that has ended.

            if not await client.auth.verify():
                await client.auth.login("admin", "admin123")

        Raises ApiError or HttpFailed when it gives no answer.
        """
        try:
            with self._lifetime.tracked_call():
                return self._session.is_open and await self._session.verify()
        except AuthenticationFailed:
            return False

    def is_authenticated(self) -> bool:
        """Whether there is a token, or a way to get one, that has not been refused; asks nobody.

        Example::

            client.auth.is_authenticated()
        """
        self._lifetime.require_open()
        return self._session.is_open

    async def token(self) -> str:
        """A token that should be accepted now, for requests of your own. Treat it as a secret.

            headers = {"Authorization": f"Bearer {await client.auth.token()}"}

        Raises NotLoggedIn, ApiError or HttpFailed.
        """
        with self._lifetime.tracked_call():
            return (await self._session.token()).text

    @property
    def token_expires_at(self) -> datetime | None:
        """When the present token expires, aware UTC; None when there is none or it does not say."""
        self._lifetime.require_open()
        return self._session.token_expires_at
