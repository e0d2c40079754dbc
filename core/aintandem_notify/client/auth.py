"""``client.auth``: login, logout, and the state of the token."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from aintandem_notify.client.lifetime import ClientLifetime
from aintandem_notify.config import Secret
from aintandem_notify.errors import AuthenticationFailed
from aintandem_notify.orchestrator import Login, Session


@dataclass(frozen=True, slots=True)
class User:
    """The user that is logged in; ``id`` is None if the orchestrator does not send one.

    Example::

        user = await client.auth.login("admin", "admin123")
        print(user.username, user.id)
    """

    username: str
    id: str | None = None


class Auth:
    """The client's login. Reach it as ``client.auth``.

    The client renews tokens by itself: before they expire, and when they are refused. If the refresh fails, it
    logs in again with the password of the last ``login``, which it keeps in memory until ``logout``.
    """

    def __init__(
        self, session: Session, lifetime: ClientLifetime, disconnect_all: Callable[[], Awaitable[None]]
    ) -> None:
        self._session = session
        self._lifetime = lifetime
        self._disconnect_all = disconnect_all

    async def login(self, username: str, password: str) -> User:
        """Log in and replace any earlier login. Sockets that are open keep the old login.

            user = await client.auth.login("admin", "admin123")

        Raises AuthenticationFailed when the orchestrator refuses the login, and ServerTrouble, another ApiError or
        HttpFailed when it fails or does not answer. After an error the earlier login stays in use.
        """
        with self._lifetime.tracked_call():
            answer = await self._session.login(Login(username, Secret(password)))
        user = answer.get("user") if isinstance(answer, dict) else None
        fields = user if isinstance(user, dict) else {}
        name, identity = fields.get("username"), fields.get("id")
        return User(name if isinstance(name, str) else username, None if identity is None else str(identity))

    async def logout(self) -> None:
        """Close all sockets, end the session, and forget the token, the password and the stored tokens.

            await client.auth.logout()

        If the orchestrator cannot be reached, that is only logged. Raises TokenStoreError when the token store
        cannot be cleared; everything else is done by then.
        """
        with self._lifetime.tracked_call():
            await self._disconnect_all()
            await self._session.forget()

    async def refresh(self) -> None:
        """Renew the token now. Rarely needed: the client renews it before it expires.

            await client.auth.refresh()

        Raises NotLoggedIn; AuthenticationFailed when neither a refresh nor a new login is accepted, or when the
        client was made with ``token``; ApiError or HttpFailed when the orchestrator fails or does not answer.
        After an error the present token stays in use while it is valid. A cancelled call may take some more
        seconds, to store tokens that the orchestrator has already issued.
        """
        with self._lifetime.tracked_call():
            await self._session.refresh()

    async def verify(self) -> bool:
        """Ask the orchestrator whether it accepts the token. False without a login or after the login has ended.

            if not await client.auth.verify():
                await client.auth.login("admin", "admin123")

        Raises ApiError or HttpFailed when the orchestrator fails or does not answer.
        """
        try:
            with self._lifetime.tracked_call():
                return self._session.is_open and await self._session.verify()
        except AuthenticationFailed:
            return False

    def is_authenticated(self) -> bool:
        """Whether there is a token, or a way to get one, that has not been refused. Sends no request.

        Example::

            client.auth.is_authenticated()
        """
        self._lifetime.require_open()
        return self._session.is_open

    async def token(self) -> str:
        """Returns a valid token for requests of your own, renewed if necessary. Treat it as a secret.

            headers = {"Authorization": f"Bearer {await client.auth.token()}"}

        Raises NotLoggedIn, ApiError or HttpFailed.
        """
        with self._lifetime.tracked_call():
            return (await self._session.token()).text

    @property
    def token_expires_at(self) -> datetime | None:
        """Expiry time of the present token, aware UTC; None without a token or without an expiry time in it."""
        self._lifetime.require_open()
        return self._session.token_expires_at
