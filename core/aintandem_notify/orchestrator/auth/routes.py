"""The orchestrator's routes for logging in and out, and where its API begins: the first answer shows that."""

from typing import Any

from aintandem_notify import log
from aintandem_notify.errors import ApiError, HttpFailed, NotFound
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator.auth.credentials import Login
from aintandem_notify.orchestrator.protocol.address import api_bases
from aintandem_notify.orchestrator.protocol.responses import parse_response

_log = log.get_logger(__name__)


class AuthRoutes:
    """``/auth/…`` of one orchestrator.

    What asks for something returns the JSON value of the answer, and raises ApiError (AuthenticationFailed when it
    is refused) or HttpFailed.
    """

    def __init__(self, url: str, http: HttpClient, clock: Clock) -> None:
        self._bases = api_bases(url)
        self._settled = len(self._bases) == 1
        self._http = http
        self._clock = clock

    @property
    def base(self) -> str:
        """The API's base URL, without a slash at its end; known for sure once there was an answer."""
        return self._bases[0]

    async def login(self, login: Login) -> Any:
        """Log in; the answer holds the tokens."""
        return await self._post("/auth/login", {"username": login.username, "password": login.password.reveal()})

    async def refresh(self, refresh_token: str) -> Any:
        """New tokens for ``refresh_token``, which is used up by it."""
        return await self._post("/auth/refresh", {"refreshToken": refresh_token})

    async def verify(self, token: str) -> Any:
        """Whether ``token`` is good, as the answer's ``success``."""
        return await self._post("/auth/verify", {"token": token})

    async def logout(self, token: str) -> None:
        """Give ``token`` back."""
        await self._post("/auth/logout", {}, {"Authorization": f"Bearer {token}"})

    async def find_base(self, token: str) -> None:
        """Find out where the API begins, if that is not known; whether ``token`` is good shows when it is used."""
        if not self._settled:
            try:
                await self.verify(token)
            except (ApiError, HttpFailed) as error:
                _log.debug("could not verify the token", reason=str(error))

    async def _post(self, path: str, body: dict[str, str], headers: dict[str, str] | None = None) -> Any:
        """POST under the API's base; as long as it is not known, where that answers 404, under the bare one."""
        try:
            content = await self._post_to(self.base + path, body, headers)
        except NotFound:
            if self._settled:
                raise
            content = await self._post_to(self._bases[1] + path, body, headers)
            self._bases = self._bases[1:]
        self._settled = True
        return content

    async def _post_to(self, url: str, body: dict[str, str], headers: dict[str, str] | None) -> Any:
        return parse_response(await self._http.request("POST", url, json=body, headers=headers), self._clock.now())
